"""Runs a victim under strace: to learn which system calls it makes, to kill it before any of them, to fail one.

strace counts the calls of each thread and each kind apart, from when it is attached; the store works in a thread of
its own, which begins after that. So (kind, ordinal) of a recorded run names the same point in the next one.
"""

from __future__ import annotations

import itertools
import multiprocessing
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.directory import victim

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.directory.victim", "concurrent.futures.thread"])

TRACED = (
    "openat,mkdirat,mkdir,write,pwrite64,pread64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,"
    "flock,fcntl,fstat,newfstatat,lseek,getdents64,close"
)
_CALL = re.compile(r"(\d+) +(\w+)\(")
_logs = itertools.count(1)


@dataclass(frozen=True)
class Point:
    """The `ordinal`th call of a kind, counting from 1."""

    call: str
    ordinal: int

    def __str__(self) -> str:
        return f"{self.call} {self.ordinal}"


@dataclass(frozen=True)
class Run:
    """How a victim fared."""

    outcome: str | None
    """None where it was killed."""
    points: list[Point]
    """What the thread that did the work called, in order."""


def run(path: Path, name: str, *inject: str) -> Run:
    """Run a victim to its end. `inject` is what strace's `-e inject=` takes."""
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=victim.carry_out, args=(path, name, theirs))
    process.start()
    theirs.close()
    log = path.parent / f"strace-{next(_logs)}.log"
    options = [option for one in inject for option in ("-e", f"inject={one}")]
    watcher = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", log, "-e", f"trace={TRACED}", *options, "-p", str(ours.recv())],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watcher.stderr is not None
    while not _is_traced(process.pid):
        assert watcher.poll() is None, watcher.stderr.read()
    ours.send("go")
    process.join()
    watcher.communicate()
    ours.close()
    assert process.exitcode is not None
    outcome = victim.OUTCOMES[process.exitcode] if process.exitcode >= 0 else None
    return Run(outcome, _points(log.read_text()))


def _is_traced(pid: int | None) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()


def kill_before(point: Point) -> str:
    """Return what kills a victim instead of this call."""
    return f"{point.call}:signal=SIGKILL:when={point.ordinal}"


def fail(point: Point, error: str) -> str:
    """Return what lets this call fail."""
    return f"{point.call}:error={error}:when={point.ordinal}"


def _points(log: str) -> list[Point]:
    by_thread: dict[str, list[Point]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for line in log.splitlines():
        found = _CALL.match(line)
        if found:
            thread, call = found.groups()
            counts[thread, call] += 1
            by_thread.setdefault(thread, []).append(Point(call, counts[thread, call]))
    return max(by_thread.values(), key=len, default=[])
