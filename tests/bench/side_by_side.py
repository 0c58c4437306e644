"""Measuring contenders in turns, and the table of what came out.

All contenders of a comparison run in one process's time on one machine, one turn each per round, and a round gives one
ratio; what is told is the median of the ratios. Machines differ and are noisy, so seconds by themselves mean little.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

OURS = "ours"
ROUNDS = int(os.environ.get("SESSIONSTORE_BENCH_ROUNDS", "15"))

Call = Callable[[], Awaitable[object]]
Turn = Callable[[], Awaitable[float]]
"""Takes one turn, and returns what it measured: seconds a call, mostly."""
Samples = Mapping[str, Sequence[float]]


def calls(call: Call, count: int, concurrency: int = 1) -> Turn:
    """A turn of `count` calls by `concurrency` callers at once; it measures seconds a call."""

    async def caller() -> None:
        for _ in range(count // concurrency):
            await call()

    async def turn() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(concurrency)))
        return (time.perf_counter() - began) / (count // concurrency * concurrency)

    return turn


async def in_turns(contenders: Mapping[str, Turn], rounds: int = ROUNDS) -> Samples:
    """Give each contender its turn in each round, forwards and backwards by turns. The first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            gc.collect()
            measured = await contenders[name]()
            if number:
                found[name].append(measured)
    return found


def ratio(samples: Samples, above: str, below: str) -> float:
    """The median, over the rounds, of one contender's measure divided by another's."""
    return statistics.median(a / b for a, b in zip(samples[above], samples[below], strict=True))


@dataclass(frozen=True)
class Row:
    """One comparison. `ratio` is ours against theirs, in the sense that `goal` (`>= 0.85`, `<= 3.0`) has."""

    what: str
    ours: str
    theirs: str
    ratio: float
    goal: str = ""

    @property
    def verdict(self) -> str:
        if not self.goal:
            return ""
        sign, limit = self.goal.split()
        return "met" if (self.ratio >= float(limit) if sign == ">=" else self.ratio <= float(limit)) else "MISSED"


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"


@dataclass
class Table:
    """What was measured in this run, in order, and what could not be."""

    rows: list[Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def speed(self, what: str, samples: Samples, goal: str = "") -> None:
        """Add a row for each contender: how many times its speed ours has, from seconds a call."""
        for name in _others(samples):
            self._add(what, samples, name, ratio(samples, name, OURS), goal, _microseconds)

    def cost(self, what: str, samples: Samples, goal: str, told: Callable[[float], str] = _microseconds) -> None:
        """Add a row for each contender: how many times its measure (time, memory) ours takes."""
        for name in _others(samples):
            self._add(what, samples, name, ratio(samples, OURS, name), goal, told)

    def _add(
        self, what: str, samples: Samples, name: str, ratio: float, goal: str, told: Callable[[float], str]
    ) -> None:
        mine, other = (told(statistics.median(samples[key])) for key in (OURS, name))
        row = Row(what, mine, f"{name} {other}", round(ratio, 3), goal)
        print(f"  {_line(row)}", flush=True)
        self.rows.append(row)

    def lines(self) -> Iterator[str]:
        """The table as Markdown."""
        yield "| | ours | beside | ratio | goal | |\n|---|---|---|---|---|---|"
        for row in self.rows:
            yield f"| {row.what} | {row.ours} | {row.theirs} | {row.ratio:.2f} | {row.goal} | {row.verdict} |"
        yield from (f"\nNot measured: {reason}" for reason in self.left_out)

    def as_json(self) -> list[dict[str, object]]:
        return [asdict(row) | {"verdict": row.verdict} for row in self.rows]


def _others(samples: Samples) -> list[str]:
    return [name for name in samples if name != OURS]


def _line(row: Row) -> str:
    return f"{row.what:32} {row.ours:>10}   {row.theirs:44} {row.ratio:6.2f}  {row.goal:8} {row.verdict}"
