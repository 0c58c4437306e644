"""A state over a restart: what was saved is there, however the bridge ended, and what did not change is kept once."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionstore.bridge import ancestors
from sessionstore.bridge.ancestors import NAME, Ancestors
from sessionstore.bridge.keeping import NAMES, State

_ENTRIES = st.dictionaries(st.sampled_from(["a", "b", "\ud800", "d"]), st.binary(max_size=4), max_size=4)
_STATES = st.lists(st.dictionaries(st.sampled_from(["x.1", "x.2", "", *NAMES]), _ENTRIES, max_size=4), max_size=6)
_ALSO_SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@_ALSO_SLOW
@given(_STATES, st.booleans(), st.data())
def test_what_was_saved_is_there_after_a_restart_at_any_moment(
    tmp_path: Path, directory: int, states: list[State], again: bool, data: st.DataObject
) -> None:
    path = tmp_path / NAME
    path.unlink(missing_ok=True)
    kept, sizes = Ancestors.load(directory), []
    for state in states:
        kept = Ancestors.load(directory) if again else kept
        kept.save(state)
        assert kept.state() == state
        sizes.append(path.stat().st_size if path.exists() else 0)
    # Cut off anywhere, as by a bridge that dies while it writes: the last record that is whole is the last one.
    size = data.draw(st.integers(0, sizes[-1] if sizes else 0))
    if path.exists():
        os.truncate(path, size)
    whole = [state for state, end in zip(states, sizes, strict=True) if end <= size]
    found = Ancestors.load(directory)
    assert found.state() == (whole[-1] if whole else {})
    found.save({"new.1": {"k": b"v"}})
    assert Ancestors.load(directory).state() == {"new.1": {"k": b"v"}}


@_ALSO_SLOW
@given(st.data())
def test_damage_loses_what_is_behind_it_and_nothing_else(tmp_path: Path, directory: int, data: st.DataObject) -> None:
    (tmp_path / NAME).unlink(missing_ok=True)
    kept = Ancestors.load(directory)
    states: list[State] = [{f"m.{number}": {"a": b"x%d" % number, f"k{number}": b"y"}} for number in range(4)]
    sizes = []
    for state in states:
        kept.save(state)
        sizes.append((tmp_path / NAME).stat().st_size)
    at = data.draw(st.integers(0, sizes[-1] - 1))
    with (tmp_path / NAME).open("r+b") as file:
        file.seek(at)
        file.write(bytes(sizes[-1] - at))
    whole = sum(end <= at for end in sizes)
    assert Ancestors.load(directory).state() == (states[whole - 1] if whole else {})


def test_what_was_behind_damage_never_comes_back(tmp_path: Path, directory: int) -> None:
    kept, path = Ancestors.load(directory), tmp_path / NAME
    # All records but the first are of one length, so that an old one might follow a new one without a gap.
    values = [b"<%03d>" % number for number in range(100) if len(str(zlib.crc32(b"<%03d>" % number))) == 10]
    for value in values[:4]:
        kept.save({"m.1": {"a": value}})
    path.write_bytes(path.read_bytes().replace(values[2], b"<xxx>"))
    found = Ancestors.load(directory)
    assert found.state() == {"m.1": {"a": values[1]}}
    found.save({"m.1": {"a": values[5]}})
    assert Ancestors.load(directory).state() == {"m.1": {"a": values[5]}}


def test_sheets_come_the_oldest_first_after_a_restart(directory: int) -> None:
    kept, sheets = Ancestors.load(directory), {}
    for number in range(5):
        sheets[f"m.{number}"] = {"a": b"%d" % number}
        sheets["chain.1"] = sheets.pop("chain.1", {}) | {"b": b"%d" % number}
        kept.save({**sheets, "changes": {"a": b"%d" % number}})
    del sheets["m.0"]
    kept.save({**sheets, "changes": {}})
    found = Ancestors.load(directory).state()
    assert [name for name in found if name not in NAMES] == list(sheets)


def test_a_log_is_written_anew_before_it_grows_without_end(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ancestors, "_SLACK_BYTES", 1000)
    kept, most, sheets = Ancestors.load(directory), 0, {}
    for number in range(500):
        sheets[f"m.{number}"] = {"always": b"x" * 100, f"k{number}": b"y" * 10}
        sheets.pop(f"m.{number - 10}", None)
        kept.save({**sheets, "revisions": {"always": b"%d" % number}})
        most = max(most, (tmp_path / NAME).stat().st_size)
    assert most < 20_000
    assert Ancestors.load(directory).state() == kept.state() == {**sheets, "revisions": {"always": b"499"}}
    assert {path.name for path in tmp_path.iterdir()} == {NAME}
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_a_save_costs_what_changed_and_entries_are_kept_once(
    tmp_path: Path, directory: int, count: Callable[[int, int], int]
) -> None:
    entries = {f"agent:main:{number}": b"x" * 6000 for number in range(count(300, 5000))}
    kept = Ancestors.load(directory)
    state: State = {"m.0": entries, "revisions": dict.fromkeys(entries, b"1")}
    kept.save(state)
    before = (tmp_path / NAME).stat().st_size
    kept.save(dict(state))
    assert (tmp_path / NAME).stat().st_size == before
    for number in range(1, 20):
        state = {**state, f"m.{number}": {**entries, "agent:main:0": b"y" * 6000}, "changes": {}}
        kept.save(state)
    assert (tmp_path / NAME).stat().st_size < before + 6000 + 20 * 200
    found = Ancestors.load(directory).state()
    assert found == state
    assert len({id(found[f"m.{number}"]["agent:main:1"]) for number in range(20)}) == 1


def test_a_full_disk_loses_nothing_that_was_kept(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Ancestors.load(directory)
    kept.save({"m.0": {"a": b"1"}})
    size = (tmp_path / NAME).stat().st_size

    def full(record: object) -> Iterator[bytes]:
        yield b'{"maps": [["m.1", null, [["a", 1'
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(ancestors._Record, "encoded", full)
        kept.save({"m.1": {"a": b"2"}})
    assert (tmp_path / NAME).stat().st_size == size
    assert kept.state() == Ancestors.load(directory).state() == {"m.0": {"a": b"1"}}
    kept.save({"m.0": {"a": b"1"}, "m.2": {"a": b"3"}})
    assert Ancestors.load(directory).state() == {"m.0": {"a": b"1"}, "m.2": {"a": b"3"}}
