"""What lies in a store and is none of it, or cannot be read: left out of lists, and told by `health`."""

from __future__ import annotations

import logging
from pathlib import Path

_SHOWN = 3
_log = logging.getLogger(__name__)


class Oddities:
    """What was met until now. The first is a warning; `health` tells which they are."""

    def __init__(self, path: Path) -> None:
        """Begin without any. `path` is the store's directory."""
        self._path = path
        self._found: dict[Path, str] = {}
        self._warned = False

    def note(self, path: Path, why: str) -> None:
        """Leave this out."""
        self._found[path] = why
        if not self._warned:
            self._warned = True
            _log.warning("%s holds something that is left out of lists; health() says what", self._path)

    def forget(self, path: Path) -> None:
        """Take back: it is as it ought to be."""
        self._found.pop(path, None)

    def forget_all(self) -> None:
        """Begin anew."""
        self._found.clear()

    @property
    def sentence(self) -> str:
        """What there is to say, for people."""
        found = list(self._found.items())
        if not found:
            return f"{self._path} can be read and written"
        told = "; ".join(f"{path.relative_to(self._path)}: {why}" for path, why in found[:_SHOWN])
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return (
            f"{self._path} can be read and written, but {len(found)} of its files are left out of lists ({told}{more})"
            "; move them away, or bring them back from a backup"
        )

    def __len__(self) -> int:
        return len(self._found)
