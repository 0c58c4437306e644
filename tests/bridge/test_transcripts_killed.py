"""A bridge that is killed at each of its steps, and begins anew: nothing is lost, nothing is there twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore.bridge import transcripts
from sessionstore.bridge.transcripts import Carried
from sessionstore.sessions.memory import MemoryStore
from tests.bridge.killing import MODES, Killed, Killer
from tests.bridge.sides import ENTRY, KEY, Side, header, ids, is_linear, message, stored, talk

Prepare = Callable[[Side, Side], None]
BEFORE = ("1", "2", "3")


def said_here(a: Side, b: Side) -> None:
    b.say(*talk("b1", "b2", after="3"))


def said_there(a: Side, b: Side) -> None:
    a.say(*talk("a1", "a2", after="3"))


def said_on_both(a: Side, b: Side) -> None:
    said_here(a, b)
    said_there(a, b)


def compacted_here(a: Side, b: Side) -> None:
    b.write(header("/b"), *talk("sum", "3", "b1"))


def compacted_there(a: Side, b: Side) -> None:
    a.write(header("/a"), *talk("sum", "3", "a1"))


def compacted_here_said_there(a: Side, b: Side) -> None:
    compacted_here(a, b)
    said_there(a, b)


def said_here_compacted_there(a: Side, b: Side) -> None:
    said_here(a, b)
    compacted_there(a, b)


def no_file_here(a: Side, b: Side) -> None:
    said_there(a, b)
    b.file.unlink()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (said_here, "1 2 3 b1 b2"),
        (said_there, "1 2 3 a1 a2"),
        (said_on_both, "1 2 3 a1 a2 b1 b2"),
        (compacted_here, "sum 3 b1"),
        (compacted_there, "sum 3 a1"),
        (compacted_here_said_there, "sum 3 b1 a1 a2"),
        (said_here_compacted_there, "sum 3 a1 b1 b2"),
        (no_file_here, "1 2 3 a1 a2"),
    ],
)
async def test_a_bridge_may_be_killed_at_any_step(
    tmp_path: Path, prepare: Prepare, expected: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a rewrite takes several steps, too.
    monkeypatch.setattr(transcripts, "REWRITE_BYTES", 1)
    monkeypatch.setattr("sessionstore.openclaw.transcript.BATCH_LINES", 2)
    killer = Killer()
    with killer.installed():
        killed = True
        step = 0
        while killed:
            killed = await _killed_once(tmp_path / str(step), prepare, expected.split(), killer, (step, mode))
            step += 1
    assert mode == "half" or step > 2


async def _killed_once(
    path: Path, prepare: Prepare, expected: list[str], killer: Killer, when: tuple[int, str]
) -> bool:
    store = MemoryStore()
    await store.set(KEY, ENTRY)
    with Side.opened(path, "a", store) as a, Side.opened(path, "b", store) as b:
        for side in (a, b):
            side.write(header(f"/{side.name}"), *talk(*BEFORE))
            assert await side.push() is Carried.SAME
        prepare(a, b)
        assert await a.push() is Carried.SAME

        killer.arm(*when)
        killed = False
        try:
            await b.push()
        except Killed:
            killed = True
        killer.disarm()
        b.restart()

        assert await b.push() is Carried.SAME
        assert await a.push() is Carried.SAME
        assert ids(b.lines) == ids(a.lines) == ids(await stored(store)) == expected
        assert is_linear(b.lines)
        assert [side.lines[0] for side in (a, b)] == [header("/a"), header("/a" if prepare is no_file_here else "/b")]
        assert message(expected[0]) in b.lines
        assert not [name for name in b.directory.names() if name.endswith(".tmp")]
    return killed
