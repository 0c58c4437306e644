"""A source is only ever read, whatever its layout, and may be mounted so that it cannot be written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migrate import states
from tests.migrate.conftest import run

pytestmark = pytest.mark.parametrize("layout", states.LAYOUTS)


@pytest.fixture
def source(layout: str, tmp_path: Path) -> Path:
    return states.LAYOUTS[layout](tmp_path / "source")


@pytest.fixture
def read_only(source: Path, tmp_path: Path) -> Iterator[Path]:
    """The source as a Job mounts it. Whoever may not mount takes the rights to write away instead."""
    target = tmp_path / "mounted"
    target.mkdir()
    if os.geteuid() != 0:
        _take_rights(source)
        yield source
        return
    subprocess.run(["mount", "--bind", "-o", "ro", str(source), str(target)], check=True)
    try:
        with pytest.raises(OSError, match="Read-only"):
            (target / "probe").touch()
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_names_bytes_modes_and_times_stay(source: Path, url: str) -> None:
    before = states.fingerprint(source)

    statuses = [
        run("inspect", source).status,
        run("migrate", source, "--to", url, "--dry-run").status,
        run("migrate", source, "--to", url).status,
        run("migrate", source, "--to", url).status,
        run("verify", source, "--against", url).status,
    ]

    assert set(statuses) <= {0, 3}
    assert states.fingerprint(source) == before


def test_a_source_that_is_mounted_read_only_is_carried(read_only: Path, source: Path, url: str) -> None:
    before = states.fingerprint(source)

    answer = run("migrate", read_only, "--to", url)

    assert answer.status in {0, 3}, answer.stderr
    assert answer.document["outcome"] == "Verified" and answer.document["migrated"]
    assert states.fingerprint(source) == before


def _take_rights(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
