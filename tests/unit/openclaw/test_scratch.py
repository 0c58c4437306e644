"""What a run keeps on disk for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore.openclaw.problems import SourceError
from sessionstore.openclaw.scratch import Names, Scratch


def test_a_disk_that_is_full_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--scratch") as full, Scratch(tmp_path) as scratch:
        database = scratch.database()
        database.execute("PRAGMA max_page_count = 2")
        database.execute("CREATE TABLE noted (value BLOB)")
        database.execute("INSERT INTO noted VALUES (zeroblob(100000))")

    assert full.value.reason == "ScratchFull" and str(tmp_path) in str(full.value)
    assert list(tmp_path.iterdir()) == []


def test_another_fault_is_passed_on_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Scratch(tmp_path):
        raise KeyError("x")


@pytest.mark.parametrize("most_bytes", [0, 400, 10**6], ids=["on disk", "moved to disk", "in memory"])
def test_names_are_the_same_set_in_memory_and_on_disk(tmp_path: Path, most_bytes: int) -> None:
    with Scratch(tmp_path) as scratch:
        names = Names(scratch, most_bytes)

        assert [names.add(name) for name in (b"m", b"b", b"m")] == [True, True, False]
        names.update([b"z", b"a", b"b", b"\xff", b"c"])

        assert list(names) == [b"a", b"b", b"c", b"m", b"z", b"\xff"]
        assert b"a" in names and b"m" in names and b"d" not in names
        assert not names.add(b"z") and names.add(b"")
        names.close()
        assert not [path for parent in tmp_path.iterdir() for path in parent.iterdir()]
