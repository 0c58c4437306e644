"""The keys: read from files, named by ids that tell nothing of them, and what is encrypted with them.

The one module that imports `cryptography`. A key never leaves it, and is in no message and no repr.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from sessionstore.sessions.exceptions import ConfigurationError, Unreadable

KEY_BYTES = 32
NONCE_BYTES = 12
ID_LENGTH = 16
"""Characters of a key's id: the first 8 bytes of its digest, in hexadecimal digits."""

_CIPHERS = 4096
"""Derived ciphers that are kept: one for each session that was met lately."""
_MOST_READ = 1024
_HEX = re.compile(rb"[0-9A-Fa-f]{64}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """What bytes belong to. It is bound to them: in another place they cannot be decrypted."""

    kind: str
    """`session`, `archive` or `document`."""
    agent: str
    """Empty for a document."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.agent}/{self.name}" if self.agent else f"{self.kind} {self.name}"

    def bind(self, *parts: bytes) -> bytes:
        """Return these names and `parts`, each behind its length, so that no two sequences are the same bytes."""
        names = (self.kind.encode(), self.agent.encode(), self.name.encode())
        return b"".join(len(part).to_bytes(8, "big") + part for part in (*names, *parts))


class Keyring:
    """Keys in the order of their age. The last one encrypts, each of them decrypts.

    A key encrypts nothing itself: each session, archive and document has a key of its own, derived from it.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take keys of 32 bytes, the oldest first. Raises: ConfigurationError."""
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ConfigurationError(f"encryption needs one or more keys of {KEY_BYTES} bytes each")
        self._keys = {id_of(key): key for key in keys}
        if len(self._keys) < len(keys):
            raise ConfigurationError("the same encryption key stands twice in the list; the last one encrypts")
        self.last = id_of(keys[-1])
        self._cipher = functools.lru_cache(_CIPHERS)(self._derived)

    @classmethod
    def from_files(cls, paths: Iterable[str | Path]) -> Self:
        """Read each file's key, the oldest first. Raises: ConfigurationError."""
        return cls([read_key(Path(path)) for path in paths])

    @property
    def ids(self) -> tuple[str, ...]:
        """The keys' ids, the oldest first."""
        return tuple(self._keys)

    def encrypt(self, place: Place, purpose: bytes, plain: bytes, bound: bytes = b"") -> bytes:
        """Return nonce, ciphertext and tag, by the last key.

        Args:
            purpose: what of its place it is: an entry, a line, a title…
            bound: what stands beside it in clear and must not be changed.
        """
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher(self.last, place).encrypt(nonce, plain, place.bind(purpose, bound))

    def decrypt(self, place: Place, purpose: bytes, key_id: str, data: bytes, bound: bytes = b"") -> bytes:
        """Return what was encrypted. Raises: Unreadable."""
        if key_id not in self._keys:
            raise Unreadable(
                f"{place} cannot be read: its {purpose.decode()} is encrypted with key {key_id}, "
                "which is not among encryption_key_files; add that key's file in front of the others"
            )
        nonce, rest = data[:NONCE_BYTES], data[NONCE_BYTES:]
        try:
            return self._cipher(key_id, place).decrypt(nonce, rest, place.bind(purpose, bound))
        except (InvalidTag, ValueError) as error:
            raise Unreadable(
                f"{place} cannot be read: its {purpose.decode()} is not as it was encrypted with key {key_id}; "
                "it was damaged, or copied from another place"
            ) from error

    def _derived(self, key_id: str, place: Place) -> AESGCM:
        info = place.bind(b"sessionstore-key", b"1")
        return AESGCM(HKDFExpand(SHA256(), KEY_BYTES, info).derive(self._keys[key_id]))

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self.ids)})"


def id_of(key: bytes) -> str:
    """Return the name of a key: 16 hexadecimal digits."""
    return hashlib.sha256(b"sessionstore-key-id" + key).hexdigest()[:ID_LENGTH]


def read_key(path: Path) -> bytes:
    """Return a file's key: 32 bytes as they are, as 64 hexadecimal digits, or in base64. Raises: ConfigurationError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_READ)
    except OSError as error:
        raise ConfigurationError(f"the encryption key file {path} cannot be read: {error.strerror}") from error
    key = content if len(content) == KEY_BYTES else _decoded(content.strip())
    if key is None or len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"the encryption key file {path} holds {len(content)} bytes that are no key; it holds 32 bytes, "
            "64 hexadecimal digits or base64 of 32 bytes: `openssl rand -hex 32`"
        )
    if mode & stat.S_IROTH:
        _log.warning("the encryption key file %s can be read by everybody on this machine; chmod o-r", path)
    return key


def _decoded(text: bytes) -> bytes | None:
    if _HEX.fullmatch(text):
        return bytes.fromhex(text.decode())
    try:
        standard = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
