"""What was agreed outlives the bridge, as far as it can be believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore.bridge import agreements
from sessionstore.bridge.agreements import LOG, Agreements
from sessionstore.bridge.lines import NOTHING, Agreed
from sessionstore.sessions.plainfiles import Directory

LINES = [b'{"type":"session"}', b'{"id":"1"}', b"\xff no UTF-8"]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Directory.opened(tmp_path, create=True) as opened:
        assert opened is not None
        yield opened


def agreed(lines: int) -> Agreed:
    return NOTHING.after(LINES[:lines])


def test_what_was_agreed_is_there_after_a_restart(directory: Directory) -> None:
    first = Agreements.load(directory, "boot")
    first.agree("key", "a", agreed(1))
    first.agree("key", "a", agreed(3))
    first.agree("other key", "a", agreed(2))
    first.agree("key", "b", agreed(2))
    first.forget("b")
    first.keep_archive("a.jsonl.reset.1", 0)

    again = Agreements.load(directory, "boot")

    assert again.of("key", "a") == agreed(3)
    assert again.of("other key", "a") == agreed(2)
    assert again.of("key", "b") is None
    assert (again.archive("a.jsonl.reset.1"), again.archive("b.jsonl.reset.1")) == (0, None)


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe", b"[]", b'{"key":"key"}', b'{"key":"key","id":"a","tail":"!","lines":1}', b'{"half": ']
)
def test_a_record_that_cannot_be_read_is_left_out_and_told(
    directory: Directory, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    Agreements.load(directory, "boot").agree("key", "a", agreed(1))
    with (directory.path / LOG).open("ab") as log:
        log.write(damage + b"\n")
    Agreements(directory, "boot").agree("key", "b", agreed(2))

    again = Agreements.load(directory, "boot")

    assert (again.of("key", "a"), again.of("key", "b")) == (agreed(1), agreed(2))
    assert "cannot be read" in caplog.text


def test_the_log_does_not_grow_for_ever(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreements, "SPARE_RECORDS", 10)
    kept = Agreements.load(directory, "boot")
    for number in range(200):
        kept.agree("key", f"{number % 5}", agreed(number % 3))
        assert len((directory.path / LOG).read_bytes().splitlines()) < 30

    again = Agreements.load(directory, "boot")
    assert [again.of("key", f"{one}") for one in range(5)] == [agreed(number % 3) for number in range(195, 200)]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        pytest.param(b"\n".join([*LINES, b""]), 3, id="as it was"),
        pytest.param(b"\n".join([*LINES, b"more", b""]), 3, id="went on"),
        pytest.param(b"\n".join([*LINES[:2], b""]), None, id="older than the log"),
        pytest.param(bytes(200) + b"\n", None, id="its blocks never reached the disk"),
        pytest.param(None, None, id="gone"),
    ],
)
def test_after_a_reboot_only_what_fits_its_file_is_believed(
    directory: Directory, content: bytes | None, lines: int | None
) -> None:
    Agreements.load(directory, "boot").agree("key", "a", agreed(3))
    if content is not None:
        (directory.path / "a.jsonl").write_bytes(content)

    assert Agreements.load(directory, "boot").of("key", "a") == agreed(3)
    assert Agreements.load(directory, "next boot").of("key", "a") == (agreed(lines) if lines else None)
    assert Agreements.load(directory, "next boot").of("key", "a") == (agreed(lines) if lines else None)


def test_the_machine_tells_its_boot(directory: Directory) -> None:
    Agreements.load(directory).agree("key", "a", agreed(3))

    assert Agreements.load(directory).of("key", "a") == agreed(3)
    assert (directory.path / LOG).stat().st_mode & 0o777 == 0o600
