"""The one place that computes digests (docs/design/0001-identity.md, "Digest"). Pure.

A proof of a migration calls it twice: over bytes read from the source, and over bytes read from the store.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from itertools import chain

from sessionstore.openclaw import rawjson
from sessionstore.sessions.record import SessionKey

_LENGTH = struct.Struct(">Q").pack


class SessionDigest:
    """A digest that takes its lines one at a time, so that a transcript need not fit into memory."""

    __slots__ = ("_hash",)

    def __init__(self, *head: bytes) -> None:
        """Begin with the parts that name and describe what is digested; `of_session` and `of_archive` know them."""
        self._hash = hashlib.sha256()
        self.lines(head)

    @classmethod
    def of_session(cls, key: SessionKey, entry: bytes) -> SessionDigest:
        """Begin a session's digest. Raises: rawjson.RawJSONError when `entry` is no strict JSON object."""
        return cls(key.agent.encode(), key.key.encode(), rawjson.canonical(entry))

    @classmethod
    def of_archive(cls, agent: str, name: str) -> SessionDigest:
        """Begin an archive's digest."""
        return cls(agent.encode(), name.encode())

    def line(self, line: bytes) -> None:
        """Add a raw line, without its line feed."""
        self._hash.update(len(line).to_bytes(8, "big"))
        self._hash.update(line)

    def lines(self, lines: Sequence[bytes]) -> None:
        """Add many lines at once; the same as adding each."""
        self._hash.update(b"".join(chain.from_iterable(zip(map(_LENGTH, map(len, lines)), lines, strict=True))))

    def digest(self) -> bytes:
        """Return the 32 bytes that `hexdigest` spells."""
        return self._hash.digest()

    def hexdigest(self) -> str:
        """Return 64 hexadecimal digits over what was added so far."""
        return self._hash.hexdigest()


def session_digest(key: SessionKey, entry: bytes, lines: Iterable[bytes]) -> str:
    """Return the digest of a session: its name, its entry whatever its layout, its current transcript."""
    return _complete(SessionDigest.of_session(key, entry), lines)


def archive_digest(agent: str, name: str, lines: Iterable[bytes]) -> str:
    """Return the digest of an archive."""
    return _complete(SessionDigest.of_archive(agent, name), lines)


def whole_digest(digests: Iterable[str]) -> str:
    """Return the digest of many, in whatever order they come."""
    whole = hashlib.sha256()
    for digest in sorted(digests):
        whole.update(bytes.fromhex(digest))
    return whole.hexdigest()


def _complete(digest: SessionDigest, lines: Iterable[bytes]) -> str:
    for line in lines:
        digest.line(line)
    return digest.hexdigest()
