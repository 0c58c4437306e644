"""What is noticed of a gateway's doings, by inotify and by looking."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sessionstore.bridge import kernel, watch
from sessionstore.bridge.doors import Doors
from sessionstore.bridge.watch import Noticed, Watch

DEADLINE_S = 20.0
SOON_S = 0.3


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(params=["inotify", "polling"])
def begin(request: pytest.FixtureRequest, directory: int) -> Iterator[Callable[[], Watch]]:
    made: list[Watch] = []

    def new() -> Watch:
        made.append(watch.Notified(directory) if request.param == "inotify" else watch.Polled(directory, 0.01))
        return made[-1]

    yield new
    for one in made:
        one.close()


def _replaced(path: Path) -> None:
    aside = path.with_name(f"{path.name}.x.tmp")
    aside.write_text("{}")
    aside.rename(path)


def _longer(path: Path) -> None:
    with path.open("a") as file:
        file.write("x\n")


@pytest.mark.parametrize(
    ("act", "name"),
    [
        pytest.param(lambda here: _replaced(here / "sessions.json"), "sessions.json", id="a sheet is replaced"),
        pytest.param(lambda here: _longer(here / "s1.jsonl"), "s1.jsonl", id="a line is added"),
        pytest.param(lambda here: (here / "s2.jsonl").write_text("x\n"), "s2.jsonl", id="a transcript is made"),
        pytest.param(lambda here: (here / "s1.jsonl").unlink(), "s1.jsonl", id="a transcript is removed"),
        pytest.param(
            lambda here: (here / "s1.jsonl").rename(here / "s1.jsonl.reset.2"), "s1.jsonl.reset.2", id="archived"
        ),
        pytest.param(lambda here: (here / "s1.jsonl.lock").write_text("{"), "s1.jsonl.lock", id="a turn begins"),
    ],
)
async def test_what_a_gateway_does_is_noticed(
    begin: Callable[[], Watch], tmp_path: Path, act: Callable[[Path], object], name: str
) -> None:
    (tmp_path / "s1.jsonl").write_text("x\n")
    _replaced(tmp_path / "sessions.json")
    watching = begin()
    act(tmp_path)
    assert name in (await _all(watching)).changed


async def test_nothing_is_noticed_where_nothing_matters(begin: Callable[[], Watch], tmp_path: Path) -> None:
    watching = begin()
    for name in (".sessionstore-bridge-x", "sessions.json.1.tmp"):
        (tmp_path / name).write_text("x")
    assert not await watching.wait(SOON_S)


async def test_who_waits_is_woken(begin: Callable[[], Watch], tmp_path: Path) -> None:
    watching = begin()
    waiting = asyncio.create_task(watching.wait(DEADLINE_S))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    (tmp_path / "s1.jsonl").write_text("x\n")
    assert "s1.jsonl" in (await waiting).changed


async def test_a_wait_that_is_given_up_loses_nothing(begin: Callable[[], Watch], tmp_path: Path) -> None:
    watching = begin()
    waiting = asyncio.create_task(watching.wait(DEADLINE_S))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    (tmp_path / "s1.jsonl").write_text("x\n")
    assert "s1.jsonl" in (await watching.wait(DEADLINE_S)).changed


async def test_a_gateway_that_wants_a_door_rings_its_bell_and_nobody_else_does(
    begin: Callable[[], Watch], directory: int, tmp_path: Path
) -> None:
    watching = begin()
    doors = Doors(directory, shared=not watching.needs_own_files)
    for transcript_id in ("s1", "s2", "s3"):
        assert doors.plant(transcript_id)
    doors.refresh()
    assert not (await _all(watching)).opened
    assert doors.is_planted("s1")
    # What a gateway does in front of a lock: it cannot make it, looks at it, and reads it.
    for _ in range(3):
        with pytest.raises(FileExistsError):
            (tmp_path / "s2.jsonl.lock").open("x").close()
        (tmp_path / "s2.jsonl.lock").read_bytes()
    assert (await _all(watching)).opened == {"s2"}
    doors.refresh()
    doors.is_running("s3")
    doors.open("s1")
    assert not (await _all(watching)).opened


async def test_a_gateway_that_waits_rings_again(begin: Callable[[], Watch], directory: int, tmp_path: Path) -> None:
    watching = begin()
    doors = Doors(directory, shared=not watching.needs_own_files)
    doors.plant("s1")
    for _ in range(3):
        await _all(watching)
        await asyncio.sleep(0.02)
        doors.refresh()
        await asyncio.sleep(0.02)
        (tmp_path / "s1.jsonl.lock").read_bytes()
        assert (await watching.wait(DEADLINE_S)).opened == {"s1"}


async def test_a_directory_that_goes_away_is_told(begin: Callable[[], Watch], tmp_path: Path) -> None:
    watching = begin()
    tmp_path.rmdir()
    assert (await watching.wait(SOON_S)).gone


async def test_a_directory_that_is_moved_is_told(directory: int, tmp_path: Path) -> None:
    watching = watch.Notified(directory)
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    assert (await watching.wait(DEADLINE_S)).gone
    watching.close()


async def test_more_than_can_be_told_means_to_look_at_everything(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = watch.Notified(directory)
    monkeypatch.setattr(kernel, "events", lambda _: iter([kernel.Event(kernel.IN_Q_OVERFLOW, "")]))
    assert await watching.wait(DEADLINE_S) == Noticed(everything=True)
    watching.close()


async def test_events_come_whole_however_many_there_are(directory: int, tmp_path: Path) -> None:
    watching = watch.Notified(directory)
    names = {f"{'ä' * 100}{number}.jsonl" for number in range(1000)}
    for name in names:
        (tmp_path / name).touch()
    found = await _all(watching)
    assert (found.changed, found.everything) == (names, False)
    watching.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.ENOSYS])
async def test_without_inotify_it_is_looked_instead(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def none(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(kernel, "inotify", none)
    watching = watch.watch(directory)
    assert isinstance(watching, watch.Polled)
    _replaced(tmp_path / "sessions.json")
    assert (await watching.wait(DEADLINE_S)).changed == {"sessions.json"}


async def _all(watching: Watch) -> Noticed:
    """Gather what is noticed until nothing more comes."""
    changed: set[str] = set()
    opened: set[str] = set()
    while noticed := await watching.wait(SOON_S):
        changed |= noticed.changed
        opened |= noticed.opened
    return Noticed(frozenset(changed), frozenset(opened), noticed.everything)
