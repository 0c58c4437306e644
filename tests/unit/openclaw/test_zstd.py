"""What comes out of zstd, and how much of it at most."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from sessionstore.openclaw import zstd
from sessionstore.openclaw.problems import SourceError
from tests.migrate.sqlite_states import zstd as library

RAW = bytes(range(256)) * 10_000


@pytest.mark.parametrize("step", [1, 7, 1024, 1 << 20])
@pytest.mark.parametrize("raw", [b"", b"x", RAW, bytes(5 * 1024**2)])
def test_it_comes_out_whole_whatever_it_is_cut_into(raw: bytes, step: int) -> None:
    packed = library.compress(raw)
    chunks = (packed[at : at + step] for at in range(0, len(packed), step))

    assert b"".join(zstd.decoded(chunks, len(raw))) == raw


def test_no_more_comes_out_than_is_allowed() -> None:
    bomb = library.compress(bytes(256 * 1024**2))
    out: list[int] = []

    def counted() -> Iterator[bytes]:
        for chunk in zstd.decoded([bomb], 3 * 1024**2):
            out.append(len(chunk))
            yield chunk

    with pytest.raises(zstd.DecodeError, match="more than 3145728 bytes"):
        b"".join(counted())
    assert sum(out) <= 3 * 1024**2 and max(out) <= zstd.CHUNK_BYTES


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        pytest.param(library.compress(RAW)[:-1], "too early", id="cut"),
        pytest.param(library.compress(RAW) + b"x", "more bytes follow", id="followed by a byte"),
        pytest.param(library.compress(RAW) + library.compress(RAW), "more bytes follow", id="two frames"),
        pytest.param(b"hello", "not zstd", id="not zstd"),
        pytest.param(b"", "too early", id="nothing"),
    ],
)
def test_what_is_not_one_whole_frame_is_refused(packed: bytes, words: str) -> None:
    with pytest.raises(zstd.DecodeError, match=words):
        b"".join(zstd.decoded([packed], 1 << 30))


def test_a_frame_has_exactly_the_size_that_is_said() -> None:
    packed = library.compress(b"abc")

    assert zstd.exactly(packed, 3) == b"abc"
    for size in (2, 4):
        with pytest.raises(zstd.DecodeError):
            zstd.exactly(packed, size)


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, zstd._MODULE, None)
    zstd._library.cache_clear()
    try:
        with pytest.raises(SourceError, match=r"sessionstore-operator\[migration\]") as raised:
            zstd.exactly(b"", 1)
        assert raised.value.reason == "PackageMissing"
    finally:
        zstd._library.cache_clear()
