"""The two questions that the kubelet asks a Redis container, as POSIX shell with redis-cli. Pure.

They lie in the ConfigMap, not in the container's arguments, so that a better script rolls no pod. The password goes
from a file to redis-cli's standard input by `read` and `printf`, which the shell does itself: no process has it in
its arguments or environment, where `ps` would show it.
"""

from __future__ import annotations

ALIVE = "alive.sh"
READY = "ready.sh"


def alive_script(port: int) -> str:
    """Alive: the event loop takes a command. A server that reads its data, or asks who we are, is alive.

    Killing one that loads would only make it begin again.
    """
    return f"""\
reply=$(redis-cli -h 127.0.0.1 -p {port} ping 2>&1)
case $reply in
  PONG* | NOAUTH* | LOADING* | MASTERDOWN* | BUSY*) exit 0 ;;
esac
echo "redis-server does not answer: $reply"
exit 1
"""


def ready_script(port: int, user: str, password_file: str) -> str:
    """Ready: takes a login and serves.

    Args:
        password_file: holds one line; its text is plain letters and digits, which redis-cli reads as they are.
    """
    return f"""\
password=
IFS= read -r password < {password_file} || [ -n "$password" ] || {{
  echo "{password_file} cannot be read, or is empty"
  exit 1
}}
reply=$(printf 'AUTH %s %s\\nPING\\n' {user} "$password" | redis-cli -h 127.0.0.1 -p {port} 2>&1)
case $reply in
  OK*PONG) exit 0 ;;
esac
echo "redis-server does not serve: $reply"
exit 1
"""
