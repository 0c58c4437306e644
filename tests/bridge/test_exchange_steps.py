"""Placements with a gateway that writes between any two steps of them, and bridges that are killed at any of them."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sessionstore.bridge import kernel
from sessionstore.bridge.exchange import Aborted, Displaced, Placed, forget, left_over, place
from sessionstore.bridge.sheet import Mark, pinned
from sessionstore.openclaw.names import INDEX

from .steps import Gateway, watch_steps

OURS = b"ours"


@pytest.fixture(params=[None, "/dev/shm"], ids=["disk", "memory"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Give new directories, on a disk or in memory."""
    with tempfile.TemporaryDirectory(dir=request.param or tmp_path) as made:
        numbers = itertools.count()

        def new() -> Path:
            path = Path(made, str(next(numbers)))
            path.mkdir()
            return path

        yield new


@dataclass
class Trial:
    """One placement in a directory of its own, and what the gateway did meanwhile."""

    directory: Path
    starts: bool = True
    gateway: Gateway = field(init=False)
    fd: int = field(init=False)
    seen: Mark | None = field(init=False)
    steps: list[str] = field(default_factory=list)
    hidden: bool = False
    """Whether the gateway's newest, which the bridge has not read, was not in place before the last step."""

    def __post_init__(self) -> None:
        self.gateway = Gateway(self.directory)
        self.fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        if self.starts:
            self.gateway.write()
        self.seen = pinned(os.open(self.directory / INDEX, os.O_RDONLY)) if self.starts else None

    def place(
        self, writes: Sequence[int], kill: int | None = None, last_words: int = -1
    ) -> Placed | Aborted | Displaced:
        """Place; the gateway writes before these steps. Before step `kill`, say what must be kept, and die."""

        def before(name: str) -> None:
            number = len(self.steps)
            if self.hidden and self.steps[-1] == "exchange":
                assert self.sheet == self.gateway.written[-1], "hidden for longer than from one exchange to the next"
            self.steps.append(name)
            for _ in range(writes.count(number)):
                self.gateway.write()
            theirs = self.gateway.written[int(self.starts) :]
            self.hidden = bool(theirs) and number not in writes and self.sheet != theirs[-1]
            if number == kill:
                gone = self.gateway.replaced | {self.gateway.written[0]}
                os.write(last_words, json.dumps([x.decode() for x in self.gateway.written if x not in gone]).encode())
                os.kill(os.getpid(), signal.SIGKILL)

        with pytest.MonkeyPatch.context() as patch:
            watch_steps(patch, before)
            return place(self.fd, [OURS[:2], OURS[2:]], self.seen)

    @property
    def sheet(self) -> bytes | None:
        """What is in place."""
        path = self.directory / INDEX
        return path.read_bytes() if path.exists() else None

    def kept(self) -> set[bytes]:
        """Return what is in place or beside it."""
        return {path.read_bytes() for path in self.directory.iterdir()}

    def close(self) -> None:
        os.close(self.fd)


def _schedules(steps: int, most: int) -> Iterator[tuple[int, ...]]:
    for number in range(most + 1):
        yield from itertools.combinations_with_replacement(range(steps), number)


@pytest.mark.parametrize("starts", [True, False], ids=["over a sheet", "the first one"])
def test_a_gateway_that_writes_at_any_step_loses_nothing(
    fresh: Callable[[], Path], starts: bool, count: Callable[[int, int], int]
) -> None:
    kinds, most, times = set(), 0, count(2, 3)
    for writes in _schedules(16, times):
        trial = Trial(fresh(), starts)
        outcome = trial.place(writes)
        kinds.add(type(outcome))
        names = outcome.names if isinstance(outcome, Displaced) else ()
        most = max(most, len(names))
        came_back = [(trial.directory / name).read_bytes() for name in names]
        gateway = trial.gateway
        # Each of its sheets is in place, or came back, or was replaced by the gateway itself, or had been read before.
        assert set(gateway.written) <= {trial.sheet, *came_back, *gateway.replaced, *gateway.written[: int(starts)]}
        # What is in place is its newest, unless it wrote nothing behind the exchange.
        stays = isinstance(outcome, Placed) and OURS not in gateway.replaced
        assert trial.sheet == (OURS if stays else gateway.written[-1])
        assert came_back == sorted(came_back)
        # Nothing else stays behind, and what came back goes when it has been dealt with.
        assert left_over(trial.fd) == list(names)
        forget(trial.fd, names)
        assert trial.kept() == {trial.sheet}
        trial.close()
    assert kinds == ({Placed, Aborted, Displaced} if starts else {Placed, Aborted})
    assert most == (times if starts else 0)


def test_a_bridge_that_is_killed_at_any_step_loses_nothing(
    fresh: Callable[[], Path], count: Callable[[int, int], int]
) -> None:
    kills = 0
    for writes in _schedules(16, count(1, 2)):
        for step in range(16):
            trial = Trial(fresh())
            if (must_be_there := _killed(trial, writes, step)) is None:
                trial.close()
                break
            kills += 1
            names = left_over(trial.fd)
            found = {(trial.directory / name).read_bytes() for name in names} | {trial.sheet}
            assert must_be_there <= found
            # In the order in which they are to be read: the newest of all is in place.
            times = [(trial.directory / name).stat().st_mtime_ns for name in [*names, INDEX]]
            assert times == sorted(times)
            # Of ours only what is whole is given; what is not is cleaned away.
            assert found <= {OURS, *(b"theirs %d" % number for number in range(16))}
            assert trial.kept() == found
            trial.close()
    assert kills > 50


def test_what_cannot_be_kept_aside_is_put_back_all_the_same(fresh: Callable[[], Path]) -> None:
    trial = Trial(fresh())

    def full(*_: object, **__: object) -> None:
        trial.gateway.write()
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "exchange", _writes_before(kernel.exchange, trial.gateway))
        patch.setattr(os, "link", full)
        with pytest.raises(OSError, match="No space left"):
            place(trial.fd, [OURS], trial.seen)
    # The one that came back is in place, and the one that was written meanwhile is found.
    assert trial.sheet == b"theirs 1"
    assert trial.kept() == {b"theirs 1", b"theirs 3"}
    assert len(left_over(trial.fd)) == 1
    trial.close()


def _writes_before(call: Callable[..., None], gateway: Gateway) -> Callable[..., None]:
    def called(*arguments: object) -> None:
        gateway.write()
        call(*arguments)

    return called


def _killed(trial: Trial, writes: Sequence[int], step: int) -> set[bytes] | None:
    """Place in a process that is killed before a step. Return the sheets that the bridge has not read, nor the gateway
    replaced; None where the placement had no such step."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            trial.place(writes, kill=step, last_words=writing)
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        said = file.read()
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == 0
        return None
    return {text.encode() for text in json.loads(said)}
