"""Children that are killed, or refused, at any one of their system calls; and children with fewer rights."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  asyncio imports it late, and nobody may read where it is
import errno
import os
import pickle
import signal
import traceback
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, NoReturn

CALLS = ("open", "mkdir", "write", "fsync", "fdatasync", "replace", "rename", "ftruncate", "unlink", "utime")


class Fault(Enum):
    """What happens instead of a system call."""

    KILL = "kill"
    HALF = "half"
    """Killed; where it is a write, with half of it done."""
    FULL = "full"
    """The disk is full; only what writes or makes something can meet that."""


class Outcome(Enum):
    DONE = "done"
    KILLED = "killed"
    FAILED = "failed"


def struck(act: Callable[[], Awaitable[object]], number: int, fault: Fault) -> Outcome:
    """Run `act` in a child, with a fault in place of its system call `number` (from 0) of those that change something.

    Returns: DONE when there were not as many.
    """
    child = os.fork()
    if child == 0:
        _strike(act, number, fault)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 1, -signal.SIGKILL), status
    return {0: Outcome.DONE, 1: Outcome.FAILED, -signal.SIGKILL: Outcome.KILLED}[status]


def _strike(act: Callable[[], Awaitable[object]], number: int, fault: Fault) -> NoReturn:
    try:
        _arm(number, fault)
        asyncio.run(_awaited(act))
        os._exit(0)
    except Exception:
        os._exit(1)
    finally:
        os._exit(2)


async def _awaited(act: Callable[[], Awaitable[object]]) -> None:
    await act()


def _arm(number: int, fault: Fault) -> None:
    left = iter(range(number, -1, -1))
    for name in CALLS:
        setattr(os, name, _armed(name, getattr(os, name), left, fault))


def _armed(name: str, real: Callable[..., Any], left: Any, fault: Fault) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if not _counts(name, fault, arguments) or next(left, None) != 0:
            return real(*arguments, **options)
        if fault is Fault.FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault is Fault.HALF and name == "write":
            real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a dead process goes on")

    return call


def _counts(name: str, fault: Fault, arguments: tuple[Any, ...]) -> bool:
    if fault is not Fault.FULL:
        return True
    return name in ("write", "mkdir", "fsync", "fdatasync") or (name == "open" and bool(arguments[1] & os.O_CREAT))


def without_rights(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run `work` in a child that is nobody, and return what it returned. Raises: AssertionError with its trace."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_as_nobody(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    is_done, result = pickle.loads(data)
    assert is_done, result
    return result


def _work_as_nobody(work: Callable[[], Awaitable[Any]], writing: int) -> NoReturn:
    try:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        answer = (True, asyncio.run(work()))  # type: ignore[arg-type]
    except BaseException:
        answer = (False, traceback.format_exc())
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(pickle.dumps(answer))
    os._exit(0)
