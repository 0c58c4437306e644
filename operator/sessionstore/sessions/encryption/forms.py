"""How encrypted bytes are written where text has to stand: a JSON object on one line, a short text, a body. Pure.

A form begins and ends with a mark. Bytes with neither mark are plain; with one of them damaged they are still told
from plain ones, and refused.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass

from sessionstore.sessions.encryption.keyring import ID_LENGTH


@dataclass(frozen=True, slots=True)
class Form:
    """Key id and data between fixed bytes."""

    head: bytes
    middle: bytes
    tail: bytes

    def write(self, key_id: str, data: bytes) -> bytes:
        """Return the whole."""
        return b"".join((self.head, key_id.encode(), self.middle, data, self.tail))

    def is_met(self, raw: bytes) -> bool:
        """Return whether `raw` is of this form, or was."""
        return raw.startswith(self.head) or raw.endswith(self.tail)

    def read(self, raw: bytes) -> tuple[str, bytes] | None:
        """Return key id and data; None where `raw` is not of this form."""
        if not raw.startswith(self.head) or not raw.endswith(self.tail):
            return None
        middle = len(self.head) + ID_LENGTH
        key_id, rest = raw[len(self.head) : middle], raw[middle : len(raw) - len(self.tail)]
        if not rest.startswith(self.middle) or key_id.strip(b"0123456789abcdef"):
            return None
        return key_id.decode(), rest[len(self.middle) :]


LINE = Form(b'{"type":"encrypted","v":1,"key":"', b'","data":"', b'","end":"encrypted"}')
MEMBER = Form(b'{"$encrypted":{"v":1,"key":"', b'","data":"', b'"}}')
TEXT = Form(b"$encrypted:1:", b":", b":end$")

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")
"""What base64 knows and base64url does not becomes what neither knows."""


def to_text(data: bytes) -> bytes:
    """Write bytes in base64url without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=")


def from_text(text: bytes) -> bytes | None:
    """Read what `to_text` wrote; None for anything else, also for another spelling of the same bytes."""
    try:
        data = binascii.a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return None
    # The last character may have bits to spare; they are what we write, and nothing else.
    spare = len(data) % 3
    return data if not spare or to_text(data[-spare:]) == text[-spare - 1 :] else None
