"""The oracle sees what it is there for: each kind of fault is told, where a valid directory is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore.sessions import SessionKey
from sessionstore.sessions.memory import MemoryStore
from tests.fuzz import carrying, mutants, oracle, site
from tests.fuzz.mutants import Mutant
from tests.fuzz.site import Touch

Sabotage = Callable[[Path, MemoryStore], object]


@pytest.fixture
def mutant(tmp_path: Path) -> Mutant:
    return Mutant(0, "sessions.json", site.copy("sessions.json", tmp_path), Touch(), "nothing")


def test_a_valid_directory_is_clean(mutant: Mutant) -> None:
    assert oracle.check(mutant) == "clean"


def _lose_a_session(root: Path, store: MemoryStore) -> None:
    _run(store.delete(SessionKey("main", "agent:main:chat:1")))


def _lose_a_line(root: Path, store: MemoryStore) -> None:
    _run(store.rewrite(SessionKey("main", "agent:main:chat:3"), [b"{}"]))


def _write_to_the_source(root: Path, store: MemoryStore) -> None:
    (root / "openclaw.json").chmod(0o600)


def _look_outside(root: Path, store: MemoryStore) -> None:
    (root.parent / "outside" / "canary.jsonl").read_bytes()


def _follow_a_path(root: Path, store: MemoryStore) -> None:
    os.close(os.open("/etc/passwd", os.O_RDONLY))


def _crash(root: Path, store: MemoryStore) -> None:
    raise ZeroDivisionError("a crash")


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        pytest.param(_lose_a_session, "not there", id="a session is lost"),
        pytest.param(_lose_a_line, "another one", id="a line is lost"),
        pytest.param(_write_to_the_source, "the source was changed", id="the source is written"),
        pytest.param(_look_outside, "opened", id="a file outside is read"),
        pytest.param(_follow_a_path, "opened", id="a file of the machine is read"),
        pytest.param(_crash, "a crash", id="a crash"),
    ],
)
def test_a_fault_is_told(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, sabotage: Sabotage, words: str) -> None:
    whole = carrying.migrate

    def migrate(root: Path, store: MemoryStore, max_file_bytes: int) -> Any:
        report = whole(root, store, max_file_bytes)
        sabotage(root, store)
        return report

    monkeypatch.setattr(carrying, "migrate", migrate)

    with pytest.raises((AssertionError, ZeroDivisionError), match=words):
        oracle.check(mutant)


def test_a_number_is_the_same_mutant_each_time(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    for number in range(12):
        one, other = (mutants.make(number, tmp_path / where / str(number)) for where in ("one", "other"))
        assert (one.story, one.touch) == (other.story, other.touch)


def _run(awaitable: Any) -> None:
    carrying.asyncio.run(awaitable)
