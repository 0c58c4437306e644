"""What a run keeps on disk for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore.openclaw.problems import SourceError
from sessionstore.openclaw.scratch import Scratch


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
