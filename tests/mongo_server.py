"""A real server of the MongoDB wire for tests: FerretDB on PostgreSQL with DocumentDB, loopback only.

tests/cluster/ferretdb.sh builds both into one root file system; each runs here with it as its root, as an
unprivileged user, in namespaces of its own, with its data in the test's directory. No container engine is needed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from sessionstore.sessions.config import SessionStorage
from tests.redis_server import free_port

ADMIN, ADMIN_PASSWORD = "admin", "admin-of-the-tests"
USER_ID = 10001
# FerretDB knows no others, and makes a superuser of whoever has them.
ROLES = [{"role": name, "db": "admin"} for name in ("clusterAdmin", "readWriteAnyDatabase")]
RECIPE = Path(__file__).parent / "cluster" / "ferretdb.sh"

# The shell stays as the first process of its namespace: with it everything in there ends, at once and surely. It keeps
# root's identity for that, since a process that changes its user is no longer told of its parent's death.
_START = """
set -eu
root=$1 files=$2; shift 2
mount --make-rprivate /
mount --bind "$files/data" "$root/data"
mount --bind "$files/run" "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/dev/shm"
chmod 1777 "$root/tmp" "$root/dev/shm"
export LC_ALL=C.UTF-8 HOME=/tmp
chroot --userspec=10001:10001 "$root" "$@" &
wait $!
"""


@dataclass
class Program:
    """One of the two programs: started, killed as by a power switch, and started again."""

    root: Path
    files: Path
    command: tuple[str, ...]
    leftovers: tuple[Path, ...] = ()
    """What a killed one left behind that would keep it from starting."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it is not ready yet."""
        assert self.process is None
        for leftover in self.leftovers:
            leftover.unlink(missing_ok=True)
        with (self.files / f"{Path(self.command[0]).name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "setpriv", "--pdeathsig", "KILL",
                    "unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child=KILL",
                    "sh", "-c", _START, "sh", str(self.root), str(self.files), *self.command,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        """End it and all that it started, without a warning; what it had not given to the kernel is lost."""
        if self.process is None:
            return
        started = _children(self.process.pid)
        for child in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if not started:
            self.process.kill()
        # unshare ends when the first process of the namespace has, and that is the last one of it to go.
        self.process.wait(30)
        self.process = None


@dataclass(frozen=True)
class MongoServer:
    """A running server. `directory` holds its data, its logs and the password files of its users."""

    directory: Path
    port: int
    ferretdb: Program
    postgres: Program

    @contextlib.contextmanager
    def admin(self, **options: Any) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            "127.0.0.1", self.port, username=ADMIN, password=ADMIN_PASSWORD, authMechanism="SCRAM-SHA-256",
            retryWrites=False, **options,
        )  # fmt: skip
        with client:
            yield client

    def add_user(self, keyspace: str, password: str = "first") -> SessionStorage:
        """Make (or change) the gateway user of `keyspace`, and return the configuration it would be given."""
        name, file = f"gateway-{keyspace}"[:63], self.directory / f"{keyspace}.password"
        with self.admin() as admin:
            try:
                admin.admin.command("createUser", name, pwd=password, roles=ROLES)
            except OperationFailure as error:
                if "already exists" not in str(error):
                    raise
                admin.admin.command("updateUser", name, pwd=password)
        file.write_text(password + "\n")
        return SessionStorage(
            backend="mongodb",
            mongodb_host=f"127.0.0.1:{self.port}",
            mongodb_username=name,
            mongodb_password_file=str(file),
            keyspace=keyspace,
            # Generous: a busy machine must not fail a test. Tests of a server that is away choose their own.
            connect_timeout=20,
            operation_timeout=40,
        )

    def url(self, config: SessionStorage) -> str:
        """Return the `--store` URL of a configuration that `add_user` returned."""
        query = urllib.parse.urlencode(
            {
                "keyspace": config.keyspace,
                "username": config.mongodb_username,
                "password_file": config.mongodb_password_file,
                "connect_timeout": 20,
                "operation_timeout": 40,
            }
        )
        return f"mongodb://127.0.0.1:{self.port}/?{query}"

    def wait(self, deadline_s: float = 60) -> None:
        """Return when both answer. Raises: RuntimeError with the end of their logs."""
        end = time.monotonic() + deadline_s
        while True:
            try:
                with self.admin(serverSelectionTimeoutMS=500) as admin:
                    admin.admin.command("usersInfo", ADMIN)
                    return
            except PyMongoError as error:
                if time.monotonic() > end:
                    raise RuntimeError(f"FerretDB did not come up: {error}\n{self._logs()}") from error
                time.sleep(0.05)

    def _logs(self) -> str:
        return "\n".join(
            f"{log.name}:\n{log.read_text(errors='replace')[-4000:]}" for log in self.directory.glob("*.log")
        )


@contextlib.contextmanager
def running(directory: Path) -> Iterator[MongoServer]:
    """Run a server with its files in `directory` until the end of the block."""
    root = _root()
    for name in ("data", "run"):
        (directory / name).mkdir(parents=True)
        os.chown(directory / name, USER_ID, USER_ID)
    subprocess.run(["cp", "-a", str(root / "data" / "template"), str(directory / "data" / "pg")], check=True)
    port = free_port()
    # Its pid file names a process of a namespace that is gone; in a new one that number may be somebody's.
    pid_file = directory / "data" / "pg" / "postmaster.pid"
    postgres = Program(root, directory, ("/usr/lib/postgresql/18/bin/postgres", "-D", "/data/pg"), (pid_file,))
    ferretdb = Program(
        root, directory,
        (
            "/usr/bin/ferretdb",
            f"--listen-addr=127.0.0.1:{port}",
            f"--postgresql-url=postgres://{ADMIN}@/postgres?host=/run&pool_min_conns=2&pool_max_conns=50",
            "--debug-addr=-", "--telemetry=disable", "--state-dir=/tmp", "--log-level=WARN",
        ),
    )  # fmt: skip
    server = MongoServer(directory, port, ferretdb, postgres)
    try:
        postgres.start()
        ferretdb.start()
        server.wait()
        yield server
    finally:
        ferretdb.kill()
        postgres.kill()
        shutil.rmtree(directory / "data")


def _root() -> Path:
    """Return the root file system. Raises: RuntimeError that says how to make it."""
    root = Path(subprocess.run([str(RECIPE), "where"], check=True, capture_output=True, text=True).stdout.strip())
    if not (root / "complete").exists():
        raise RuntimeError(
            f"these tests need FerretDB, which is not built (no {root}): run `make ferretdb`, about 5 minutes"
        )
    if os.geteuid() != 0:
        raise RuntimeError("these tests need root: FerretDB runs in a root file system of its own (chroot)")
    return root


def _children(process_id: int) -> list[int]:
    listed = Path(f"/proc/{process_id}/task/{process_id}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []
