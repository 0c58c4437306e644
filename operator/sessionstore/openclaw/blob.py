"""Bytes of a source that need not fit into memory: what is set aside is handed on as one of these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class Blob(Protocol):
    """Bytes that can be gone through again and again."""

    @property
    def size(self) -> int:
        """How many there are."""

    def chunks(self) -> Iterator[bytes]:
        """Go through them, at most 1 MiB at a time. Raises: Refused, SourceError."""


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that are in memory: an entry, the end of a line."""

    raw: bytes

    @property
    def size(self) -> int:
        return len(self.raw)

    def chunks(self) -> Iterator[bytes]:
        yield self.raw
