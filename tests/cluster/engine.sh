#!/usr/bin/env bash
# Starts a Docker engine where none runs. With systemd it is the machine's own; without, one that keeps its data in the cache.
#
# usage: engine.sh      (root, where none runs)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${SESSIONSTORE_CACHE:-$HOME/.cache/sessionstore}
state=$cache/kind/docker

wait_for_engine() {
  for _ in $(seq 120); do
    docker info >/dev/null 2>&1 && return
    sleep 0.5
  done
  echo "engine: Docker did not start within 60 s; see $1" >&2
  exit 1
}

docker info >/dev/null 2>&1 && exit 0
if [ "$(id -u)" != 0 ]; then
  echo "engine: no Docker engine answers this user; start it, or join the group 'docker', or run this as root" >&2
  exit 1
fi
echo "engine: starting Docker"
if [ -d /run/systemd/system ]; then
  systemctl start docker
  wait_for_engine "journalctl -u docker"
  exit 0
fi

mkdir -p "$state"
conf=$(jq -n --arg data "$state/data" '{"data-root": $data, "exec-opts": ["native.cgroupdriver=cgroupfs"]}')
# Bit 24 is CAP_SYS_RESOURCE: without it the engine cannot grant what kind's containers ask for, so runc is wrapped.
if [ $((0x$(awk '/^CapBnd/{print $2}' /proc/self/status) >> 24 & 1)) = 0 ]; then
  install -m 755 "$here/runc-wrap" /usr/local/sbin/runc-wrap
  conf=$(jq '. + {"default-runtime": "wrap", "runtimes": {"wrap": {"path": "/usr/local/sbin/runc-wrap"}}}' <<<"$conf")
fi
echo "$conf" >"$state/daemon.json"
# A pid file that outlived its machine would keep dockerd from starting; none answers, so none runs.
rm -f /var/run/docker.pid
setsid nohup dockerd --config-file "$state/daemon.json" >"$state/dockerd.log" 2>&1 </dev/null &
wait_for_engine "$state/dockerd.log"
