"""Real Redis that fails over: a primary with replicas and sentinels, and a Cluster. Loopback only, nothing left behind.

Both offer what `redis_server.RedisServer` does: `add_user(keyspace)` gives the configuration of a gateway with exactly
the rights it gets, on every server; `url(config)` names it. Each server can be killed, paused and started again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from sessionstore.sessions.config import SessionStorage
from tests.redis_server import ADMIN, ADMIN_PASSWORD, gateway_user, make_command, make_gateway_user, redis_binary

SENTINEL_USER, SENTINEL_PASSWORD = "asker", "asker-of-the-tests"
SERVICE = "chat"
SETTLE_S = 90
"""How long a topology may take to be as it should on a busy machine."""


@dataclass
class Process:
    """One server: how it is started, and what runs now."""

    command: list[str]
    port: int
    directory: Path
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.directory / "redis.log").open("ab") as log:
            self.running = subprocess.Popen(self.command, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            self.running = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let it hang: connections are taken by the kernel, and nobody answers."""
        assert self.running is not None
        os.kill(self.running.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if self.running is not None:
                os.kill(self.running.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def admin(self) -> Iterator[redis.Redis]:
        client = redis.Redis(
            port=self.port, username=ADMIN, password=ADMIN_PASSWORD, protocol=2, socket_timeout=5,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        )  # fmt: skip
        try:
            yield client
        finally:
            client.close()

    @property
    def log(self) -> str:
        return (self.directory / "redis.log").read_text(errors="replace")[-2000:]

    def is_up(self) -> bool:
        try:
            with self.admin() as admin:
                return bool(admin.ping())
        except redis.RedisError:
            return False


@dataclass
class Topology:
    """Servers with data, and how a gateway is told of them."""

    directory: Path
    servers: list[Process] = field(default_factory=list)

    def add_user(self, keyspace: str, password: str = "first") -> SessionStorage:
        """Make (or change) the gateway user of `keyspace`, and return the configuration it would be given."""
        file = self.directory / f"{keyspace}.password"
        for server in self.servers:
            if server.running is not None:
                with server.admin() as admin:
                    make_gateway_user(admin, keyspace, password)
        file.write_text(password + "\n")
        return dataclasses.replace(
            self.base,
            redis_username=gateway_user(keyspace),
            redis_password_file=str(file),
            keyspace=keyspace,
            # Generous: a busy machine must not fail a test. Tests of a server that is away choose their own.
            connect_timeout=20,
            operation_timeout=40,
            failover_timeout=SETTLE_S,
        )

    @property
    def base(self) -> SessionStorage:
        raise NotImplementedError

    def restore(self) -> None:
        """Start again what a test has ended, and wait until all is as it should be."""
        for server in self.servers:
            if server.running is None:
                server.start()
        self.settle()

    def settle(self) -> None:
        raise NotImplementedError


class SentinelTopology(Topology):
    """One primary, two replicas, three sentinels."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.sentinels: list[Process] = []

    @property
    def base(self) -> SessionStorage:
        file = self.directory / "sentinel.password"
        file.write_text(SENTINEL_PASSWORD)
        return SessionStorage(
            backend="redis",
            redis_sentinels=tuple(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels),
            redis_sentinel_service=SERVICE,
            redis_sentinel_username=SENTINEL_USER,
            redis_sentinel_password_file=str(file),
        )

    def url(self, config: SessionStorage) -> str:
        """Return the `--store` URL of a configuration that `add_user` returned."""
        parameters = {
            "service": SERVICE, "keyspace": config.keyspace, "username": config.redis_username,
            "password_file": config.redis_password_file, "sentinel_username": SENTINEL_USER,
            "sentinel_password_file": config.redis_sentinel_password_file,
            "connect_timeout": 20, "operation_timeout": 40,
        }  # fmt: skip
        return f"redis+sentinel://{','.join(config.redis_sentinels)}?{urllib.parse.urlencode(parameters)}"

    def primary(self) -> Process:
        """Return the server that the sentinels name, once they agree."""
        return self._by_port(_until(self._agreed_port, "the sentinels to agree", self.everyone))

    def hand_over(self, primary: Process) -> None:
        """Let the sentinels make another server the primary, with the old one's help."""
        _until(lambda: self._ask_to_hand_over(primary), "the handover", self.everyone)

    def _ask_to_hand_over(self, primary: Process) -> bool:
        try:
            _raw(self.sentinels[0], "SENTINEL", "FAILOVER", SERVICE)
        except redis.ResponseError:
            # Another one is under way, or it sees no replica that is good enough yet.
            return False
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if self._agreed_port() not in (None, primary.port):
                return True
            time.sleep(0.05)
        return False

    def everyone(self) -> list[Process]:
        return [*self.servers, *self.sentinels]

    def settle(self) -> None:
        _until(self._is_whole, "all replicas to follow one primary", self.everyone)

    def start(self) -> None:
        for _ in range(3):
            self.servers.append(_server(self.directory, "--repl-diskless-sync-delay", "0"))
        first = self.servers[0]
        for server in self.servers:
            # Written by sentinels when another one is to be the primary, so each server has a file.
            config = server.directory / "redis.conf"
            lines = [f"masteruser {ADMIN}", f"masterauth {ADMIN_PASSWORD}"]
            config.write_text("\n".join(lines) + "\n")
            server.command.insert(1, str(config))
            if server is not first:
                server.command += ["--replicaof", f"127.0.0.1 {first.port}"]
            server.start()
        _until(lambda: all(server.is_up() for server in self.servers), "the servers", self.everyone)
        for server in self.servers:
            # Who is whose replica is in the file from now on.
            server.command = [part for part in server.command if not part.startswith(("--replicaof", "127.0.0.1 "))]
            with server.admin() as admin:
                admin.config_rewrite()
        for _ in range(3):
            self.sentinels.append(self._sentinel(SERVICE, first.port, quorum=2))
        self.settle()

    def stop(self) -> None:
        for process in (*self.sentinels, *self.servers):
            process.kill()

    def add_sentinel(self, service: str, primary_port: int) -> Process:
        """Start a sentinel that watches `service`; it agrees with none of the others that anything is down."""
        return self._sentinel(service, primary_port, quorum=9)

    def _sentinel(self, service: str, primary_port: int, quorum: int) -> Process:
        port = free_port()
        directory = self.directory / f"sentinel-{port}"
        directory.mkdir()
        config = directory / "sentinel.conf"
        config.write_text(
            f"bind 127.0.0.1\nport {port}\ndir {directory}\n"
            f"user default off\nuser {ADMIN} on >{ADMIN_PASSWORD} ~* &* +@all\n"
            f"user {SENTINEL_USER} on >{SENTINEL_PASSWORD} resetchannels -@all +auth +hello +ping "
            "+sentinel|get-master-addr-by-name\n"
            f"sentinel sentinel-user {ADMIN}\nsentinel sentinel-pass {ADMIN_PASSWORD}\n"
            f"sentinel monitor {service} 127.0.0.1 {primary_port} {quorum}\n"
            f"sentinel auth-user {service} {ADMIN}\nsentinel auth-pass {service} {ADMIN_PASSWORD}\n"
            f"sentinel down-after-milliseconds {service} 1000\nsentinel failover-timeout {service} 5000\n"
        )
        sentinel = Process([redis_binary(), str(config), "--sentinel"], port, directory)
        sentinel.start()
        _until(sentinel.is_up, "a sentinel", lambda: [sentinel])
        return sentinel

    def _agreed_port(self) -> int | None:
        told = set()
        for sentinel in self.sentinels:
            if sentinel.running is not None:
                told.add(int(_raw(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]))
        return told.pop() if len(told) == 1 else None

    def _is_whole(self) -> bool:
        port = self._agreed_port()
        if port is None:
            return False
        with self._by_port(port).admin() as admin:
            found: dict[str, Any] = admin.info("replication")
        followed = found["role"] == "master" and found["connected_slaves"] == len(self.servers) - 1
        return followed and all(self._sees_all(sentinel) for sentinel in self.sentinels)

    def _sees_all(self, sentinel: Process) -> bool:
        flat = [_text(value) for value in _raw(sentinel, "SENTINEL", "MASTER", SERVICE)]
        seen = dict(zip(flat[::2], flat[1::2], strict=True))
        counts = int(seen["num-other-sentinels"]), int(seen["num-slaves"])
        return counts == (len(self.sentinels) - 1, len(self.servers) - 1) and seen["flags"] == "master"

    def _by_port(self, port: int) -> Process:
        return next(server for server in self.servers if server.port == port)


class ClusterTopology(Topology):
    """Three primaries with a replica each."""

    @property
    def base(self) -> SessionStorage:
        nodes = tuple(f"127.0.0.1:{server.port}" for server in self.servers)
        return SessionStorage(backend="redis", redis_cluster=True, redis_cluster_nodes=nodes)

    def url(self, config: SessionStorage) -> str:
        """Return the `--store` URL of a configuration that `add_user` returned."""
        parameters = {
            "keyspace": config.keyspace, "username": config.redis_username,
            "password_file": config.redis_password_file, "connect_timeout": 20, "operation_timeout": 40,
        }  # fmt: skip
        return f"redis+cluster://{','.join(config.redis_cluster_nodes)}?{urllib.parse.urlencode(parameters)}"

    def start(self) -> None:
        for _ in range(6):
            server = _server(
                self.directory, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
                "--masteruser", ADMIN, "--masterauth", ADMIN_PASSWORD, "--repl-diskless-sync-delay", "0",
            )  # fmt: skip
            server.start()
            self.servers.append(server)
        _until(lambda: all(server.is_up() for server in self.servers), "the servers", self.everyone)
        addresses = [f"127.0.0.1:{server.port}" for server in self.servers]
        self.cli("--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes")
        self.settle()

    def cli(self, *arguments: str) -> str:
        """Run redis-cli as the administrator and return what it says."""
        binary = shutil.which("redis-cli")
        if binary is None:
            raise RuntimeError("these tests need redis-cli: apt-get install --no-install-recommends redis-tools")
        done = subprocess.run(
            [binary, "--user", ADMIN, *arguments],
            env={**os.environ, "REDISCLI_AUTH": ADMIN_PASSWORD},
            capture_output=True,
            text=True,
            timeout=SETTLE_S,
        )
        if done.returncode:
            raise RuntimeError(f"redis-cli {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def everyone(self) -> list[Process]:
        return self.servers

    def settle(self) -> None:
        _until(self._is_whole, "the cluster to be whole", self.everyone)

    def stop(self) -> None:
        for process in self.servers:
            process.kill()

    def primaries(self) -> list[Process]:
        """Return the servers that keep slots now."""
        ports = {int(_text(row[2][1])) for row in self._slots(next(s for s in self.servers if s.running is not None))}
        return [server for server in self.servers if server.port in ports]

    def primary_of(self, slot: int) -> Process:
        """Return the server that keeps `slot`."""
        asked = next(server for server in self.servers if server.running is not None)
        row = next(row for row in self._slots(asked) if row[0] <= slot <= row[1])
        return next(server for server in self.servers if server.port == row[2][1])

    def begin_move(self, slot: int, source: Process, target: Process) -> None:
        """Announce that `slot` goes from one server to another; nothing is moved yet."""
        _raw(target, "CLUSTER", "SETSLOT", str(slot), "IMPORTING", self._id_of(source))
        _raw(source, "CLUSTER", "SETSLOT", str(slot), "MIGRATING", self._id_of(target))

    def move_keys(self, slot: int, source: Process, target: Process, keys: Sequence[str] | None = None) -> None:
        """Move `keys`, one at a time; without `keys`, whatever is left of the slot."""
        credentials = ("AUTH2", ADMIN, ADMIN_PASSWORD)
        while left := keys or _raw(source, "CLUSTER", "GETKEYSINSLOT", str(slot), "10"):
            for key in left:
                _raw(source, "MIGRATE", "127.0.0.1", str(target.port), key, "0", "5000", *credentials)
            if keys:
                return

    def end_move(self, slot: int, target: Process) -> None:
        """Give the slot to `target`, everywhere."""
        for server in (target, *(other for other in self.primaries() if other is not target)):
            _raw(server, "CLUSTER", "SETSLOT", str(slot), "NODE", self._id_of(target))

    def _id_of(self, server: Process) -> str:
        return _text(_raw(server, "CLUSTER", "MYID"))

    def _slots(self, server: Process) -> list[Any]:
        rows: list[Any] = _raw(server, "CLUSTER", "SLOTS")
        return rows

    def _is_whole(self) -> bool:
        return all(self._is_well(server) for server in self.servers)

    def _is_well(self, server: Process) -> bool:
        info = _text(_raw(server, "CLUSTER", "INFO"))
        replicated = all(len(row) > 3 for row in self._slots(server))
        return "cluster_state:ok" in info and "cluster_slots_ok:16384" in info and replicated


@contextlib.contextmanager
def with_sentinels(directory: Path) -> Iterator[SentinelTopology]:
    """Run a primary, two replicas and three sentinels until the end of the block."""
    topology = SentinelTopology(directory)
    try:
        topology.start()
        yield topology
    finally:
        topology.stop()


@contextlib.contextmanager
def cluster(directory: Path) -> Iterator[ClusterTopology]:
    """Run a Cluster of three primaries and three replicas until the end of the block."""
    topology = ClusterTopology(directory)
    try:
        topology.start()
        yield topology
    finally:
        topology.stop()


def free_port() -> int:
    """Return a port that is free, and whose cluster bus port (10000 above) is one."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55000:
            return port


def _server(directory: Path, *options: str) -> Process:
    port = free_port()
    own = directory / f"server-{port}"
    own.mkdir(parents=True)
    return Process(make_command(redis_binary(), port, own, *options), port, own)


def _until(look: Callable[[], Any], what: str, everyone: Callable[[], list[Process]]) -> Any:
    """Look until it is true, and return what was found."""
    end = time.monotonic() + SETTLE_S
    last = ""
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except redis.RedisError as error:
            last = str(error)
        time.sleep(0.05)
    logs = "\n".join(f"--- {process.port}\n{process.log}" for process in everyone())
    raise RuntimeError(f"{what} took more than {SETTLE_S} s; {last}\n{logs}")


def _raw(server: Process, *command: str) -> Any:
    """Return an answer as it is: redis-py would turn it into something of its own."""
    with server.admin() as admin:
        admin.response_callbacks.clear()
        return admin.execute_command(*command)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
