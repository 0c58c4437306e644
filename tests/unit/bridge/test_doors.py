"""Doors on disk: never half there, told from a gateway's own lock, and gone when they are opened."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore.bridge import doors as module
from sessionstore.bridge.doors import Doors

THEIRS = json.dumps({"pid": 7, "createdAt": "2026-07-01T00:00:00.000Z", "maxHoldMs": 300000}, indent=2)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(params=[True, False], ids=["one file", "a file each"])
def doors(directory: int, request: pytest.FixtureRequest) -> Doors:
    return Doors(directory, shared=request.param)


def _lock(directory: Path, transcript_id: str = "s1") -> Path:
    return directory / f"{transcript_id}.jsonl.lock"


def test_a_door_is_a_lock_that_names_no_process(doors: Doors, tmp_path: Path) -> None:
    assert doors.plant("s1")
    assert json.loads(_lock(tmp_path).read_text()) == {}
    assert doors.is_planted("s1")
    assert not doors.is_running("s1")
    assert not doors.is_planted("s2")


def test_planting_again_changes_nothing(doors: Doors, tmp_path: Path) -> None:
    assert doors.plant("s1")
    before = _lock(tmp_path).stat().st_ino
    assert doors.plant("s1")
    assert _lock(tmp_path).stat().st_ino == before


@pytest.mark.parametrize("text", ["", THEIRS], ids=["just made", "written"])
def test_a_gateway_s_own_lock_is_neither_replaced_nor_opened(doors: Doors, tmp_path: Path, text: str) -> None:
    _lock(tmp_path).write_text(text)
    assert not doors.plant("s1")
    assert not doors.is_planted("s1")
    assert doors.is_running("s1")
    doors.open("s1")
    assert _lock(tmp_path).read_text() == text


def test_an_opened_door_is_gone_and_can_be_planted_again(doors: Doors, tmp_path: Path) -> None:
    doors.plant("s1")
    doors.plant("s2")
    doors.open("s1")
    assert not _lock(tmp_path).exists()
    assert not doors.is_planted("s1")
    assert _lock(tmp_path, "s2").exists()
    assert doors.plant("s1")
    assert doors.refresh() == []


def test_opening_what_is_not_there_does_nothing(doors: Doors, tmp_path: Path) -> None:
    doors.open("s1")
    doors.plant("s1")
    _lock(tmp_path).unlink()
    doors.open("s1")
    assert not doors.is_planted("s1")


def test_a_lock_that_a_gateway_put_there_at_the_last_moment_stays(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = Doors(directory)
    doors.plant("s1")
    rename = os.rename

    def late(*arguments: str, **named: int) -> None:
        _lock(tmp_path).unlink()
        _lock(tmp_path).write_text(THEIRS)
        rename(*arguments, **named)

    monkeypatch.setattr(os, "rename", late)
    doors.open("s1")
    assert _lock(tmp_path).read_text() == THEIRS
    assert [path for path in tmp_path.iterdir() if "opened" in path.name] == []


@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_a_refresh_makes_all_doors_fresh(doors: Doors, tmp_path: Path, number: int) -> None:
    ids = [f"s{n}" for n in range(number)]
    for transcript_id in ids:
        doors.plant(transcript_id)
        os.utime(_lock(tmp_path, transcript_id), (1, 1))
    assert doors.refresh() == []
    assert all(time.time() - _lock(tmp_path, transcript_id).stat().st_mtime < 60 for transcript_id in ids)
    assert doors.planted() == set(ids)


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("gone", [["s0"], ["s3"], ["s1", "s2"], ["s0", "s1", "s2", "s3"]])
def test_a_refresh_tells_of_doors_that_a_gateway_took_away(
    doors: Doors, tmp_path: Path, gone: list[str], replaced: bool
) -> None:
    for number in range(4):
        doors.plant(f"s{number}")
        os.utime(_lock(tmp_path, f"s{number}"), (1, 1))
    for transcript_id in gone:
        _lock(tmp_path, transcript_id).unlink()
        if replaced:
            _lock(tmp_path, transcript_id).write_text(THEIRS)
    assert sorted(doors.refresh()) == gone
    assert doors.refresh() == []
    assert doors.planted() == {f"s{number}" for number in range(4)} - set(gone)
    assert [doors.is_running(transcript_id) for transcript_id in gone] == [replaced] * len(gone)
    assert all(time.time() - _lock(tmp_path, one).stat().st_mtime < 60 for one in doors.planted())


def test_one_write_refreshes_all_doors(directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doors = Doors(directory)
    for number in range(50):
        doors.plant(f"s{number}")
    touched: list[str] = []
    utime = os.utime
    monkeypatch.setattr(os, "utime", lambda name, **named: (touched.append(name), utime(name, **named)))
    assert doors.refresh() == []
    assert len(touched) == 1
    assert {_lock(tmp_path, f"s{number}").stat().st_nlink for number in range(50)} == {51}


def test_the_doors_of_a_bridge_that_died_are_taken_over(directory: int, tmp_path: Path) -> None:
    before = Doors(directory)
    for transcript_id in ("s1", "s2"):
        before.plant(transcript_id)
        os.utime(_lock(tmp_path, transcript_id), (1, 1))
    _lock(tmp_path, "s3").write_text(THEIRS)
    for name in (".sessionstore-bridge-opened-x", ".sessionstore-bridge-door-x"):
        (tmp_path / name).write_text("{}\n")
    after = Doors(directory)
    assert after.planted() == {"s1", "s2"}
    after.plant("s4")
    assert after.refresh() == []
    assert time.time() - _lock(tmp_path, "s2").stat().st_mtime < 60
    after.close()
    assert {path.name for path in tmp_path.iterdir()} == {"s3.jsonl.lock"}


def test_doors_whose_file_went_away_are_still_ours(directory: int, tmp_path: Path) -> None:
    Doors(directory).plant("s1")
    (tmp_path / ".sessionstore-bridge-door").unlink()
    doors = Doors(directory)
    doors.plant("s2")
    assert doors.refresh() == []
    assert _lock(tmp_path, "s1").stat().st_ino != _lock(tmp_path, "s2").stat().st_ino


def test_more_doors_than_a_file_can_have_names_are_several_files(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def few(name: str, other: str, **named: int) -> None:
        if (tmp_path / name).stat().st_nlink >= 4:
            raise OSError(31, "Too many links")
        link(name, other, **named)

    monkeypatch.setattr(os, "link", few)
    doors = Doors(directory)
    assert all(doors.plant(f"s{number}") for number in range(10))
    for number in range(10):
        os.utime(_lock(tmp_path, f"s{number}"), (1, 1))
    assert doors.refresh() == []
    assert len({_lock(tmp_path, f"s{number}").stat().st_ino for number in range(10)}) == 4
    assert all(time.time() - _lock(tmp_path, f"s{number}").stat().st_mtime < 60 for number in range(10))
    doors.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("transcript_id", ["../s1", "/etc/s1", "s\0"])
def test_a_door_is_in_the_directory(doors: Doors, transcript_id: str) -> None:
    with pytest.raises(ValueError, match="is no transcript's id"):
        doors.plant(transcript_id)


@pytest.mark.parametrize(
    ("name", "transcript_id"),
    [("s1.jsonl.lock", "s1"), (".jsonl.lock", None), ("s1.lock", None), ("s1.jsonl", None), ("sessions.json", None)],
)
def test_only_the_lock_of_a_transcript_names_one(name: str, transcript_id: str | None) -> None:
    assert module.transcript_of(name) == transcript_id
    assert transcript_id is None or module.lock_of(transcript_id) == name
