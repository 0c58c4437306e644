"""The program on the sessions of a real OpenClaw."""

from __future__ import annotations

import tarfile
from pathlib import Path

import click.testing
import pytest

from sessionstore.cli.main import main
from tests.conftest import ROOT

FIXTURE = ROOT / "tests" / "fixtures" / "openclaw" / "file-2026.7.1-2.tar.gz"


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path / "state", filter="data")
    return tmp_path / "state"


@pytest.fixture
def cli(state_dir: Path):
    """Run a command on the fixture's sessions."""
    runner = click.testing.CliRunner()

    def run(*arguments: str, stdin: bytes | None = None) -> click.testing.Result:
        return runner.invoke(main, ["--store", f"file://{state_dir}", *arguments], input=stdin, env={"COLUMNS": "80"})

    return run
