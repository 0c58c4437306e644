"""Archives that OpenClaw 2026.8 and later keeps as zstd: in a row of its database, and as a file beside the others.

An archive is looked through before it is handed out. What cannot be decoded, is not what its record says, or comes
out far too large is set aside with its bytes; there is no half of one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sessionstore.openclaw import files, transcript, zstd
from sessionstore.openclaw.blob import Blob, Held
from sessionstore.openclaw.problems import Reason, Refused
from sessionstore.openclaw.reader import BadEntry
from sessionstore.openclaw.transcript import Batch
from sessionstore.openclaw.tree import Tree, printable

MAX_BYTES = 512 * 1024**2
"""Comes out of an archive at most: OpenClaw makes it of one JavaScript string, which cannot be longer."""
_MAX_RATIO = 1000
_ALWAYS_BYTES = 16 * 1024**2
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive; a `reader.Part`.

    Attributes:
        blob: its bytes as they are kept.
        is_zstd: whether they are compressed.
        sha256: of the bytes as they are kept, where there is a record of it.
        lines: goes through the decoded bytes, given as a function that reads them.
    """

    blob: Blob
    path: str
    name: str
    agent: str
    stamp: str | None
    is_zstd: bool = True
    sha256: str | None = None
    transcript_id: str | None = None
    lines: Callable[[Callable[[int], bytes]], Iterator[Batch]] = transcript.batches

    @property
    def size(self) -> int:
        """How many bytes the lines have, each with a line feed."""
        return sum(sum(map(len, batch.lines)) + len(batch.lines) for batch in self.batches())

    def batches(self) -> Iterator[Batch]:
        """Go through the lines. Raises: Refused, SourceError."""
        yield from self.lines(reader_of(self._decoded()))

    def broken(self) -> BadEntry | None:
        """Read all of it, and say what is wrong. Raises: SourceError."""
        try:
            if self.sha256 is not None and _sha256(self.blob) != self.sha256:
                raise Refused(Reason.UNDECODABLE, "the archive is damaged: its SHA-256 is not what its record says")
            # Whether lines are too long shows when they are read, as of any other file.
            for _ in self._decoded() if self.lines is transcript.batches else self.batches():
                pass
        except Refused as error:
            # Anything else says that the bytes cannot be had, or should stay where they are.
            kept = self.blob if error.reason is Reason.UNDECODABLE else Held(b"")
            return BadEntry(self.agent, None, kept, error.reason, str(error), self.path)
        return None

    def _decoded(self) -> Iterator[bytes]:
        if not self.is_zstd:
            yield from self.blob.chunks()
            return
        limit = min(MAX_BYTES, max(_ALWAYS_BYTES, self.blob.size * _MAX_RATIO))
        try:
            yield from zstd.decoded(self.blob.chunks(), limit)
        except zstd.DecodeError as error:
            raise Refused(Reason.UNDECODABLE, f"the archive cannot be decoded: {error}") from error


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file of the source; a `blob.Blob`."""

    tree: Tree
    path: str
    max_bytes: int

    @property
    def size(self) -> int:
        status = self.tree.status(self.path)
        return status.st_size if status else 0

    def chunks(self) -> Iterator[bytes]:
        """Go through the bytes. Raises: Refused, SourceError."""
        with self.tree.opened(self.path, self.max_bytes) as (file, _):
            while chunk := os.read(file, _CHUNK):
                yield chunk


def archive(tree: Tree, folder: str, name: str, agent: str, max_bytes: int) -> Packed | BadEntry:
    """Return a compressed archive that is a file; it is carried under its name without `.zst`. Raises: SourceError."""
    path = files.joined(folder, name)
    status = tree.status(path)
    stamp = files.stamp_of(status) if status else None
    blob = WholeFile(tree, path, max_bytes)
    part = Packed(blob, printable(path), name.removesuffix(zstd.SUFFIX), agent, stamp)
    return part.broken() or part


def reader_of(chunks: Iterator[bytes]) -> Callable[[int], bytes]:
    """Return a function that gives the next bytes: at most 1 MiB, whatever is asked for, and none at the end."""
    return lambda _: next((chunk for chunk in chunks if chunk), b"")


def _sha256(blob: Blob) -> str:
    digest = hashlib.sha256()
    for chunk in blob.chunks():
        digest.update(chunk)
    return digest.hexdigest()
