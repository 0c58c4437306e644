"""Ends a bridge at any of its steps, for tests: before it, in the midst of it, or after it, so that nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sessionstore.bridge.agreements import Agreements
from sessionstore.bridge.transcript_file import TranscriptFile
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.plainfiles import Directory, Draft

MODES = ("before", "after", "half")


class Killed(BaseException):
    """What no code of ours catches."""


class Killer:
    """Counts steps, and ends whoever takes the one that was chosen."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._mode = ""

    def arm(self, step: int, mode: str) -> None:
        self._left, self._mode = step, mode

    def disarm(self) -> bool:
        """Return whether it was still armed: there were fewer steps."""
        armed, self._left = self._left is not None, None
        return armed

    def meet(self, mode: str) -> None:
        """Count at `before`; end who is to be ended now."""
        if self._left is None or mode != self._mode:
            return
        self._left -= 1
        if self._left < 0:
            self._left = None
            raise Killed

    @contextmanager
    def installed(self, *calls: str) -> Iterator[None]:
        """Stand in the way of every change, and of the store's answers: those that are named, or all of transcripts."""
        with pytest.MonkeyPatch.context() as patch:
            for name in calls or ("read", "get", "append", "rewrite"):
                patch.setattr(MemoryStore, name, self._awaited(getattr(MemoryStore, name)))
            if calls:
                yield
                return
            for owner, name in ((Directory, "put"), (Draft, "write"), (Agreements, "_add")):
                patch.setattr(owner, name, self._around(getattr(owner, name)))
            patch.setattr(TranscriptFile, "append", self._appended(TranscriptFile.append))
            yield

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def around(*args: Any) -> Any:
            self.meet("before")
            made = call(*args)
            self.meet("after")
            return made

        return around

    def _awaited(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def awaited(*args: Any, **more: Any) -> Any:
            self.meet("before")
            # As a store on a network would, let others work meanwhile.
            await asyncio.sleep(0)
            made = await call(*args, **more)
            self.meet("after")
            return made

        return awaited

    def _appended(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def appended(file: TranscriptFile, data: bytes) -> None:
            self.meet("before")
            try:
                self.meet("half")
            except Killed:
                call(file, data[: len(data) // 2])
                raise
            call(file, data)
            self.meet("after")

        return appended
