"""Ancestors over a restart: what was saved is there, however the bridge ended, and what did not change is kept once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionstore.bridge import ancestors
from sessionstore.bridge.ancestors import KEPT, NAME, Ancestors

_ENTRIES = st.dictionaries(st.sampled_from(["a", "b", "\ud800", "d"]), st.binary(max_size=4), max_size=4)
_SAVES = st.lists(st.tuples(st.sampled_from("xyz"), _ENTRIES), max_size=8)
_ALSO_SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def _said(saves: list[tuple[str, dict[str, bytes]]]) -> dict[str, dict[str, bytes]]:
    said: dict[str, dict[str, bytes]] = {}
    for marker, entries in saves:
        said.pop(marker, None)
        said[marker] = entries
    return said


def _plain(found: Mapping[str, Mapping[str, bytes]]) -> list[tuple[str, dict[str, bytes]]]:
    return [(marker, dict(entries)) for marker, entries in found.items()]


@_ALSO_SLOW
@given(_SAVES, st.booleans(), st.data())
def test_what_was_saved_is_there_after_a_restart_at_any_moment(
    tmp_path: Path, directory: int, saves: list[tuple[str, dict[str, bytes]]], again: bool, data: st.DataObject
) -> None:
    (tmp_path / NAME).unlink(missing_ok=True)
    kept, sizes = Ancestors.load(directory), [0]
    for marker, entries in saves:
        kept = Ancestors.load(directory) if again else kept
        kept.save(marker, entries)
        sizes.append((tmp_path / NAME).stat().st_size)
    # Cut off anywhere, as by a bridge that dies while it writes: the last record that is whole is the last one.
    size = data.draw(st.integers(0, sizes[-1]))
    if saves:
        os.truncate(tmp_path / NAME, size)
    whole = sum(end <= size for end in sizes[1:])
    found = Ancestors.load(directory)
    assert _plain(found.all()) == list(_said(saves[:whole]).items())
    found.save("new", {"k": b"v"})
    assert _plain(Ancestors.load(directory).all()) == list(_said([*saves[:whole], ("new", {"k": b"v"})]).items())


@_ALSO_SLOW
@given(st.data())
def test_damage_loses_what_is_behind_it_and_nothing_else(tmp_path: Path, directory: int, data: st.DataObject) -> None:
    (tmp_path / NAME).unlink(missing_ok=True)
    kept = Ancestors.load(directory)
    saves = [(f"m{number}", {"a": b"x%d" % number, f"k{number}": b"y"}) for number in range(4)]
    sizes = []
    for marker, entries in saves:
        kept.save(marker, entries)
        sizes.append((tmp_path / NAME).stat().st_size)
    at = data.draw(st.integers(0, sizes[-1] - 1))
    with (tmp_path / NAME).open("r+b") as file:
        file.seek(at)
        file.write(bytes(sizes[-1] - at))
    whole = sum(end <= at for end in sizes)
    assert _plain(Ancestors.load(directory).all()) == saves[:whole]


def test_the_last_ones_are_kept_and_one_that_goes_on_is_a_last_one(directory: int) -> None:
    kept = Ancestors.load(directory)
    for number in range(KEPT + 3):
        kept.save(f"m{number}", {"a": b"%d" % number})
        kept.save("chain", {"b": b"%d" % number})
    expected = ["chain" if number < 0 else f"m{number}" for number in [*range(4, KEPT + 3), -1]]
    assert list(kept.all()) == list(Ancestors.load(directory).all()) == expected


def test_a_log_is_written_anew_before_it_grows_without_end(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ancestors, "_SLACK_BYTES", 1000)
    kept, most = Ancestors.load(directory), 0
    for number in range(500):
        kept.save(f"m{number}", {"always": b"x" * 100, f"k{number}": b"y" * 10})
        most = max(most, (tmp_path / NAME).stat().st_size)
        assert _plain(kept.all())[-1] == (f"m{number}", {"always": b"x" * 100, f"k{number}": b"y" * 10})
    assert most < 20_000
    assert _plain(Ancestors.load(directory).all()) == _plain(kept.all())
    assert len(kept.all()) == KEPT
    assert {path.name for path in tmp_path.iterdir()} == {NAME}
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_a_save_costs_what_changed_and_entries_are_kept_once(
    tmp_path: Path, directory: int, count: Callable[[int, int], int]
) -> None:
    entries = {f"agent:main:{number}": b"x" * 6000 for number in range(count(300, 5000))}
    kept = Ancestors.load(directory)
    kept.save("m0", entries)
    size = (tmp_path / NAME).stat().st_size
    for number in range(1, KEPT):
        kept.save(f"m{number}", {**entries, "agent:main:0": b"y" * 6000})
    assert (tmp_path / NAME).stat().st_size < size + 6000 + KEPT * 200
    found = Ancestors.load(directory).all()
    shared = {id(found[marker]["agent:main:1"]) for marker in found}
    assert len(shared) == 1


def test_a_full_disk_loses_nothing_that_was_kept(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Ancestors.load(directory)
    kept.save("m0", {"a": b"1"})

    def full(record: object) -> Iterator[bytes]:
        yield b'{"marker": "m1", "se'
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(ancestors._Record, "bytes", full)
        kept.save("m1", {"a": b"2"})
    assert _plain(kept.all()) == [("m0", {"a": b"1"})]
    kept.save("m2", {"a": b"3"})
    assert _plain(Ancestors.load(directory).all()) == [("m0", {"a": b"1"}), ("m2", {"a": b"3"})]
