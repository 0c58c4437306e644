"""A process of its own that carries out one operation on a directory store, for tests/directory/strace.py to disturb.

It is forked from a server that has imported everything, so that hardly anything but the operation is a system call.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from sessionstore.sessions import Lifetime, Unavailable
from sessionstore.sessions.directory import DirectoryStore

NOW_MS = 1_700_000_000_000
KEY = "agent:main:telegram:direct:1"
ARCHIVE = "s.jsonl.reset.1"
_PR_SET_PTRACER, _PR_SET_PTRACER_ANY = 0x59616D61, -1

Act = Callable[[DirectoryStore], Awaitable[object]]


@dataclass(frozen=True)
class Operation:
    """What is done before, and then disturbed."""

    prepare: list[Act]
    act: Act


def opened(path: Path, now_ms: int = NOW_MS) -> DirectoryStore:
    """Open a store whose clock stands still, so that two of them end the same."""
    return DirectoryStore(path, lambda: now_ms)


def _set(number: int) -> Act:
    return lambda store: store.set(KEY, {"sessionId": "s", "n": number})


def _expiring(store: DirectoryStore) -> Awaitable[object]:
    return store.touch(KEY, lifetime=Lifetime(ttl_ms=1))


def _append(*lines: bytes) -> Act:
    return lambda store: store.append(KEY, lines)


FILLED = [_set(1), _append(b"one", b"two")]
OPERATIONS = {
    "the first of all": Operation([], _set(1)),
    "set": Operation(FILLED, _set(2)),
    "create": Operation([], lambda store: store.create(KEY, {"sessionId": "s"}, [b"one", b"x" * 100_000])),
    "create over a tombstone": Operation(
        [*FILLED, lambda store: store.delete(KEY)], lambda store: store.create(KEY, {"sessionId": "s"}, [b"new"])
    ),
    "append": Operation(FILLED, _append(b"three", b"x" * 100_000, b"five")),
    "the first append": Operation([_set(1)], _append(b"one", b"two")),
    "rewrite": Operation(FILLED, lambda store: store.rewrite(KEY, [b"other", b"lines"])),
    "rewrite to nothing": Operation(FILLED, lambda store: store.rewrite(KEY, [])),
    "delete": Operation(FILLED, lambda store: store.delete(KEY)),
    "archive": Operation(FILLED, lambda store: store.archive(KEY, reason="done")),
    "tag": Operation(FILLED, lambda store: store.tag(KEY, add=["a", "b"])),
    "another transcript": Operation(FILLED, lambda store: store.set(KEY, {"sessionId": "t"})),
    "put an archive": Operation([*FILLED], lambda store: store.put_archive("main", ARCHIVE, [b"1", b"2"])),
    "replace an archive": Operation(
        [*FILLED, lambda store: store.put_archive("main", ARCHIVE, [b"0"])],
        lambda store: store.put_archive("main", ARCHIVE, [b"1", b"2"], position=1, replace=True),
    ),
    "put a document": Operation(
        [*FILLED, lambda store: store.put_document("d", b"old")], lambda store: store.put_document("d", b"new")
    ),
}

OUTCOMES = ("done", "an unexpected error", "full", "connection", "permission", "readonly", "timeout")
"""By exit status; 1 is an exception that nobody caught. The others are the reasons of Unavailable."""


async def prepared(path: Path, name: str) -> None:
    """Bring a store to where the operation begins."""
    for act in OPERATIONS[name].prepare:
        await act(opened(path))


def carry_out(path: Path, name: str, connection: Connection) -> None:
    """Say that we are there, wait until we are being watched, act, and exit with how it went.

    Nothing is written but by the store: a write of ours might be the one that is to fail.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)
    connection.send(os.getpid())
    connection.recv()
    sys.exit(OUTCOMES.index(asyncio.run(_outcome(path, name))))


async def _outcome(path: Path, name: str) -> str:
    try:
        await OPERATIONS[name].act(opened(path))
    except Unavailable as error:
        return error.reason
    return "done"
