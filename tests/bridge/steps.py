"""Running something before any system call of a placement: what another process may do in between, at worst."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore.bridge import exchange, kernel
from sessionstore.openclaw.names import INDEX

_CALLS = [(exchange, "look"), (kernel, "exchange"), (kernel, "move"), (os, "link"), (os, "unlink"), (os, "rename")]


def watch_steps(patch: pytest.MonkeyPatch, before: Callable[[str], None]) -> None:
    """Call `before(name)` before each system call of a placement that another process could notice."""
    for module, name in _CALLS:
        patch.setattr(module, name, _with(getattr(module, name), name, before))


def _with(call: Callable[..., object], name: str, before: Callable[[str], None]) -> Callable[..., object]:
    def called(*arguments: object, **named: object) -> object:
        before(name)
        return call(*arguments, **named)

    return called


class Gateway:
    """Writes sheets as OpenClaw does: a file aside, a rename, and the mode once more."""

    def __init__(self, directory: Path) -> None:
        """Write into a directory; nothing is there yet."""
        self.directory = directory
        self.written: list[bytes] = []
        self.replaced: set[bytes] = set()
        """What was in place when one of these was put there: gone because the gateway wanted so."""
        self._rename = os.rename

    def write(self) -> None:
        """Put the next sheet in place."""
        text = b"theirs %d" % len(self.written)
        aside = self.directory / f"{INDEX}.{len(self.written)}.tmp"
        aside.write_bytes(text)
        if (sheet := self.directory / INDEX).exists():
            self.replaced.add(sheet.read_bytes())
        self._rename(aside, sheet)
        sheet.chmod(0o600)
        self.written.append(text)
