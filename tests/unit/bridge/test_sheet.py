"""Sheets on disk: what is read from them, what is written, and what it costs."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sessionstore.bridge import sheet
from sessionstore.openclaw import rawjson
from sessionstore.openclaw.names import INDEX
from sessionstore.sessions.exceptions import Unreadable

MARKER = "agent:main:cron:sessionstore-bridge:run:marker"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def _entry(number: int, size: int = 100) -> bytes:
    fields = {"sessionId": f"s{number}", "updatedAt": number, "label": "x" * size, "großes": "😀"}
    return rawjson.indent(json.dumps(fields, ensure_ascii=False).encode(), 1)


def _write(path: Path, text: Iterator[bytes]) -> None:
    path.write_bytes(b"".join(text))


def test_what_is_written_is_read_with_its_marker(tmp_path: Path, directory: int) -> None:
    entries = {f'agent:main:k"{number}\ud800': _entry(number) for number in range(3)}
    _write(tmp_path / INDEX, sheet.text("main", "a.7", entries, 5))
    found = sheet.read(directory, "main", {})
    assert found is not None
    assert (found.marker, found.entries, list(found.entries)) == ("a.7", entries, list(entries))
    assert found.mark == sheet.look(directory)


def test_a_sheet_is_laid_out_as_openclaw_does(tmp_path: Path) -> None:
    entries = {"agent:main:main": _entry(1)}
    written = b"".join(sheet.text("main", "a.7", entries, 5))
    said = {MARKER: {"updatedAt": 5, "sessionstoreBridge": "a.7"}, "agent:main:main": json.loads(_entry(1))}
    assert written == json.dumps(said, indent=2, ensure_ascii=False).encode()


def test_no_file_is_no_sheet(directory: int) -> None:
    assert sheet.read(directory, "main", {}) is None
    assert sheet.look(directory) is None


@pytest.mark.parametrize(
    ("members", "marker"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({MARKER: {"updatedAt": 1}}, None, id="no name in it"),
        pytest.param({MARKER: {"sessionstoreBridge": 3}}, None, id="no text"),
        pytest.param({MARKER: 3}, None, id="no object"),
        pytest.param({MARKER.replace("main", "other"): {"sessionstoreBridge": "a.1"}}, None, id="of another agent"),
        pytest.param({MARKER: {"sessionstoreBridge": "a.1", "label": "kept"}}, "a.1", id="with more"),
    ],
)
def test_only_a_marker_of_ours_counts_and_none_is_an_entry(
    tmp_path: Path, directory: int, members: dict[str, object], marker: str | None
) -> None:
    (tmp_path / INDEX).write_text(json.dumps({**members, "agent:main:main": {}}, indent=2))
    found = sheet.read(directory, "main", {})
    assert found is not None
    assert found.marker == marker
    assert found.entries == {"agent:main:main": b"{}"}


def test_another_layout_is_read_as_openclaw_would_lay_it_out(tmp_path: Path, directory: int) -> None:
    entries = {"agent:main:a": _entry(1), "agent:main:b": _entry(2)}
    said = json.loads(b"".join(sheet.text("main", "a.7", entries, 5)))
    (tmp_path / INDEX).write_text(json.dumps(said, ensure_ascii=False))
    found = sheet.read(directory, "main", entries)
    assert found is not None
    assert (found.marker, found.entries) == ("a.7", entries)
    assert all(found.entries[key] is raw for key, raw in entries.items())


@pytest.mark.parametrize("text", [b'{\n  "agent:main:a": {\n    "x": 1\n', b"[]", b"\0" * 100, b'{\n  "a": {bad}\n}'])
def test_what_cannot_be_read_is_told_and_stays(tmp_path: Path, directory: int, text: bytes) -> None:
    (tmp_path / INDEX).write_bytes(text)
    with pytest.raises(Unreadable, match=r"sessions\.json of agent main cannot be read"):
        sheet.read(directory, "main", {})
    assert (tmp_path / INDEX).read_bytes() == text


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_what_is_no_file_is_not_followed(tmp_path: Path, directory: int, kind: str) -> None:
    path = tmp_path / INDEX
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(Unreadable):
        sheet.read(directory, "main", {})


def test_a_file_that_is_written_in_place_meanwhile_is_read_again(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {f"agent:main:{number}": _entry(number) for number in range(2)}
    path = tmp_path / INDEX
    _write(path, sheet.text("main", "a.7", {}, 5))
    reads = []
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        found = real(descriptor, size)
        reads.append(size)
        if len(reads) == 1:
            _write(path, sheet.text("main", "a.8", entries, 5))
        return found

    monkeypatch.setattr(os, "read", read)
    found = sheet.read(directory, "main", {})
    assert found is not None
    assert (found.marker, found.entries) == ("a.8", entries)


def test_the_descriptor_of_a_mark_goes_with_it(tmp_path: Path, directory: int) -> None:
    _write(tmp_path / INDEX, sheet.text("main", "a.7", {}, 5))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        found = sheet.read(directory, "main", {})
    assert found is not None
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1


def test_reading_what_is_known_takes_no_memory_and_writing_none(
    tmp_path: Path, directory: int, count: Callable[[int, int], int]
) -> None:
    entries = {f"agent:main:{number}": _entry(number, 6000) for number in range(count(2000, 5000))}
    path = tmp_path / INDEX
    _write(path, sheet.text("main", "a.7", entries, 5))
    tracemalloc.start()
    found = sheet.read(directory, "main", entries)
    with path.open("wb") as file:
        file.writelines(sheet.text("main", "a.8", entries, 5))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is not None
    assert all(found.entries[key] is raw for key, raw in entries.items())
    # Some pieces of a mebibyte, and the names.
    assert most < 8 * 1024 * 1024 < path.stat().st_size
