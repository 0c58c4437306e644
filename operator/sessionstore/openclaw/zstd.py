"""Decodes zstd as OpenClaw 2026.8 and later writes it, and never further than the caller allows.

The library is the standard one of Python 3.14, or its backport. It is asked for when something is to be decoded: a
source without compressed parts is read without it.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterable, Iterator
from typing import Protocol, cast

from sessionstore.openclaw.problems import SourceError

SUFFIX = ".zst"
CHUNK_BYTES = 1024 * 1024
_MODULE = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


class DecodeError(Exception):
    """The bytes are not one whole zstd frame, or more comes out of them than is allowed."""


class _Decoder(Protocol):
    """`ZstdDecompressor` as far as it is used."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Decode some; at most `max_length` bytes come out at once."""


class _Library(Protocol):
    """The module as far as it is used."""

    ZstdError: type[Exception]

    def ZstdDecompressor(self) -> _Decoder:
        """Make a decoder of one frame."""


@functools.cache
def _library() -> _Library:
    try:
        return cast(_Library, importlib.import_module(_MODULE))
    except ModuleNotFoundError as error:
        message = (
            "the source holds zstd, which the Python package backports.zstd decodes; "
            "install sessionstore-operator[migration]"
        )
        raise SourceError("PackageMissing", message) from error


def decoded(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Decode one frame, at most 1 MiB at a time. Raises: DecodeError, also where more than `max_bytes` come out."""
    library = _library()
    decoder = library.ZstdDecompressor()
    left = max_bytes
    try:
        for chunk in chunks:
            for some in _decoded_chunk(decoder, chunk):
                left -= len(some)
                if left < 0:
                    raise DecodeError(f"more than {max_bytes} bytes come out of it")
                yield some
    except (library.ZstdError, EOFError) as error:
        raise DecodeError(f"it is not zstd, or damaged: {error}") from error
    if not decoder.eof:
        raise DecodeError("it ends too early")


def _decoded_chunk(decoder: _Decoder, chunk: bytes) -> Iterator[bytes]:
    while chunk or not (decoder.needs_input or decoder.eof):
        yield decoder.decompress(chunk, CHUNK_BYTES)
        chunk = b""
    if decoder.unused_data:
        raise DecodeError("more bytes follow after its end")


def exactly(raw: bytes, size: int) -> bytes:
    """Decode one frame of which exactly `size` bytes come out. Raises: DecodeError."""
    whole = b"".join(decoded([raw], size))
    if len(whole) != size:
        raise DecodeError(f"{len(whole)} bytes come out of it, and {size} should")
    return whole
