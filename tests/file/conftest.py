"""OpenClaw's own state directory, and a store on it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from sessionstore.sessions.file.store import FileStore
from tests.conftest import ROOT

FIXTURE = ROOT / "tests" / "fixtures" / "openclaw" / "file-2026.7.1-2.tar.gz"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path / "state", filter="data")
    return tmp_path / "state"


@pytest.fixture
def sessions(state: Path) -> Path:
    return state / "agents" / "work" / "sessions"


@pytest.fixture
def store(state: Path) -> FileStore:
    return FileStore(state)
