"""Placements beside a process that writes sheets as OpenClaw does, as fast as it can, and beside people."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sessionstore.bridge import sheet
from sessionstore.bridge.ancestors import Ancestors
from sessionstore.bridge.doors import Doors
from sessionstore.bridge.exchange import Aborted, Displaced, Placed, forget, left_over, place, refreshed
from sessionstore.openclaw.names import INDEX

AGENT = "main"

# Reads the sheet, adds one key, puts it in place, looks at it until its own key is there: what a gateway does.
WRITER = """
import itertools, json, os, sys, time
directory, rounds = sys.argv[1], int(sys.argv[2])
path = directory + "/sessions.json"
hidden = 0
for number in range(rounds):
    with open(path, encoding="utf-8") as file:
        entries = json.load(file)
    entries[f"agent:main:k{number}"] = {"sessionId": f"s{number}", "updatedAt": number}
    aside = f"{path}.{number}.tmp"
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=2)
    os.rename(aside, path)
    os.chmod(path, 0o600)
    for looks in itertools.count():
        with open(path, encoding="utf-8") as file:
            if f"agent:main:k{number}" in json.load(file):
                break
        assert looks < 1000, f"k{number} is not there"
        time.sleep(0.001)
    hidden += looks > 0
print(hidden)
"""


@pytest.fixture(params=["disk", "memory"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Give a sessions directory on a disk, and one in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if request.param == "memory" else tmp_path) as made:
        yield Path(made)


@pytest.fixture
def directory(sessions: Path) -> Iterator[int]:
    """Give its descriptor."""
    descriptor = os.open(sessions, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


class Room:
    """The least that a room does: all that was ever read is placed again. Nothing is ever deleted."""

    def __init__(self, directory: int) -> None:
        self.directory = directory
        self.view: dict[str, bytes] = {}
        self.seen: sheet.Mark | None = None
        self.outcomes: list[Placed | Aborted | Displaced] = []

    def read(self, name: str = INDEX) -> None:
        found = sheet.read(self.directory, AGENT, self.view, name)
        if found is not None:
            self.view |= found.entries
            self.seen = found.mark if name == INDEX else self.seen

    def place(self) -> None:
        outcome = place(self.directory, sheet.text(AGENT, "test.1", self.view, 1), self.seen)
        self.outcomes.append(outcome)
        if isinstance(outcome, Placed):
            self.seen = outcome.mark
        if isinstance(outcome, Displaced):
            for name in outcome.names:
                self.read(name)
            forget(self.directory, outcome.names)
            self.read()

    def count(self, kind: type) -> int:
        return sum(isinstance(outcome, kind) for outcome in self.outcomes)


def test_none_of_a_gateway_s_writes_is_lost_at_full_speed(
    sessions: Path, directory: int, count: Callable[[int, int], int]
) -> None:
    rounds = count(150, 1500)
    room = Room(directory)
    room.place()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(sessions), str(rounds)], stdout=subprocess.PIPE) as writer:
        while writer.poll() is None:
            if sheet.look(directory) != room.seen:
                room.read()
            room.place()
        assert writer.stdout is not None
        hidden = int(writer.stdout.read())
    room.read()
    print(
        f"{rounds} writes, {len(room.outcomes)} placements: {room.count(Placed)} placed, {room.count(Aborted)} aborted,"
        f" {room.count(Displaced)} put back; hidden when looked at: {hidden}"
    )
    assert writer.returncode == 0
    assert room.count(Placed) > 1
    assert [key for number in range(rounds) if (key := f"agent:main:k{number}") not in room.view] == []
    assert left_over(directory) == []
    assert {path.name for path in sessions.iterdir()} == {INDEX}


def test_the_first_sheet_is_the_owner_s_alone(sessions: Path, directory: int) -> None:
    outcome = place(directory, [b"{}"], None)
    assert outcome == Placed(sheet.look(directory))  # type: ignore[arg-type]
    assert (sessions / INDEX).read_bytes() == b"{}"
    assert stat.S_IMODE((sessions / INDEX).stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_gateway(sessions: Path, directory: int) -> None:
    os.chown(sessions, 1000, 1001)
    place(directory, [b"{}"], None)
    Ancestors.load(directory).save({"a.1": {}})
    Doors(directory).plant("s1")
    assert {(path.stat().st_uid, path.stat().st_gid) for path in sessions.iterdir()} == {(1000, 1001)}


def test_a_sheet_that_changed_since_it_was_seen_is_left_alone(sessions: Path, directory: int) -> None:
    path = sessions / INDEX
    path.write_bytes(b"{}")
    seen = _seen(directory)
    with path.open("ab") as file:
        file.write(b" ")
    assert place(directory, [b"ours"], seen) == Aborted()
    assert place(directory, [b"ours"], None) == Aborted()
    assert {path.name: path.read_bytes() for path in sessions.iterdir()} == {INDEX: b"{} "}


def test_a_sheet_that_was_taken_away_is_not_put_back(sessions: Path, directory: int) -> None:
    (sessions / INDEX).write_bytes(b"{}")
    seen = _seen(directory)
    (sessions / INDEX).unlink()
    assert place(directory, [b"ours"], seen) == Aborted()
    assert list(sessions.iterdir()) == []


def test_another_file_of_the_same_size_and_time_is_another_one(sessions: Path, directory: int) -> None:
    """File systems give the number of a removed file to the next one, and clocks stand still for milliseconds."""
    path, aside = sessions / INDEX, sessions / "sessions.json.tmp"
    path.write_bytes(b"{}")
    os.utime(path, ns=(1, 1))
    seen = _seen(directory)
    for _ in range(100):
        aside.write_bytes(b"[]")
        os.utime(aside, ns=(1, 1))
        aside.rename(path)
        assert place(directory, [b"ours"], seen) == Aborted()


def test_setting_the_mode_once_more_is_no_change(sessions: Path, directory: int) -> None:
    (sessions / INDEX).write_bytes(b"{}")
    seen = _seen(directory)
    (sessions / INDEX).chmod(0o600)
    assert isinstance(place(directory, [b"ours"], seen), Placed)


def test_a_text_that_fails_leaves_nothing_behind(sessions: Path, directory: int) -> None:
    def text() -> Iterator[bytes]:
        yield b"{"
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        place(directory, text(), None)
    assert list(sessions.iterdir()) == []


def test_a_new_time_makes_a_gateway_read_ours_again(sessions: Path, directory: int) -> None:
    outcome = place(directory, [b"{}"], None)
    assert isinstance(outcome, Placed)
    os.utime(sessions / INDEX, ns=(1, 1))
    mark = _seen(directory)
    again = refreshed(directory, mark)
    assert again == sheet.look(directory)
    assert again.modified_ns > mark.modified_ns
    # What the gateway put there meanwhile keeps its time, and ours is not taken for it.
    (sessions / "sessions.json.tmp").write_bytes(b"{}")
    os.utime(sessions / "sessions.json.tmp", ns=(1, 1))
    (sessions / "sessions.json.tmp").rename(sessions / INDEX)
    assert refreshed(directory, again) == again
    assert (sessions / INDEX).stat().st_mtime_ns == 1


def test_what_is_left_over_comes_oldest_first_and_only_whole(sessions: Path, directory: int) -> None:
    for name, time_ns in (("b", 1), ("a", 3), ("c", 2)):
        path = sessions / f".sessionstore-bridge-sheet-{name}"
        path.write_bytes(b"{}")
        os.utime(path, ns=(time_ns, time_ns))
    (sessions / ".sessionstore-bridge-new-d").write_bytes(b'{"half')
    found = left_over(directory)
    assert [name[-1] for name in found] == ["b", "c", "a"]
    forget(directory, found)
    assert list(sessions.iterdir()) == []


def test_a_left_over_that_is_newer_than_the_sheet_is_put_in_place(sessions: Path, directory: int) -> None:
    for name, time_ns in ((".sessionstore-bridge-sheet-b", 3), (INDEX, 2), (".sessionstore-bridge-sheet-a", 4)):
        (sessions / name).write_text(str(time_ns))
        os.utime(sessions / name, ns=(time_ns, time_ns))
    found = left_over(directory)
    assert [(sessions / name).read_text() for name in [*found, INDEX]] == ["2", "3", "4"]


def _seen(directory: int) -> sheet.Mark:
    found = sheet.read(directory, AGENT, {})
    assert found is not None
    return found.mark
