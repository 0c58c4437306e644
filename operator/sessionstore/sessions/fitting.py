"""Which part of a conversation fits a budget, and where it may be cut. Pure; `sessions.window` does the reading.

Visitors of a walk along the branch, newest entry first: `Fill` chooses a window, `Cut` finds a compaction's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sessionstore.openclaw import messages
from sessionstore.openclaw.branch import Branch, Entry, Record
from sessionstore.sessions.exceptions import Conflict, InvalidEntry

Counter = Callable[[bytes], int]


class Pairs:
    """Tool results and the calls they answer, by position: 0 is the newest message."""

    def __init__(self) -> None:
        self.open: dict[str, list[int]] = {}
        """call id -> results whose call has not been met; at the end of the branch, results that answer nothing."""
        self.calls: dict[int, int] = {}
        """result -> the call that it answers"""

    def add(self, position: int, message: messages.Message) -> None:
        """Take the next older message."""
        for id in messages.tool_calls(message):
            for result in self.open.pop(id, ()):
                self.calls[result] = position
        answered = messages.tool_result(message)
        if answered is not None:
            self.open.setdefault(answered, []).append(position)

    def longest(self, newest: Iterable[int]) -> int:
        """Return how many of the newest messages are needed, so that the `newest` results have their calls."""
        return max((self.calls.get(result, -1) + 1 for result in newest), default=0)


@dataclass(frozen=True, slots=True)
class Choice:
    """What goes into a window: so many of the newest messages, and perhaps the summary before them."""

    count: int
    summary: bool
    over_budget: bool
    complete: bool


class Fill:
    """Weighs messages until the budget is spent, then chooses."""

    def __init__(self, branch: Branch, max_tokens: int, counter: Counter, at_least: int = 0) -> None:
        """`at_least`: so many lines are kept even where they exceed the budget."""
        self.lines: list[bytes] = []
        self.sums = [0]
        self.skipped = 0
        self._branch = branch
        self._max, self._counter, self._at_least = max_tokens, counter, at_least
        self._pairs = Pairs()
        self._seen = 0
        self._after: int | None = None
        self.summary_tokens = 0

    @property
    def satisfied(self) -> bool:
        """Whether older entries cannot change the choice, nor that something is left out."""
        return self._is_full and not self._pairs.open and self._newest_unit(self._seen) < self._seen

    @property
    def _is_full(self) -> bool:
        return self.sums[-1] > self._max and len(self.lines) >= self._at_least

    def see(self, record: Record | None) -> None:
        """Take note of a line, on the branch or not."""
        self.skipped += record is None

    def take(self, entry: Entry) -> None:
        """Take the next older entry of the branch."""
        if entry is self._branch.compaction:
            self._after, self.summary_tokens = self._seen, self._counter(entry.raw)
            return
        message = messages.message_of(entry.record)
        if message is None:
            self.skipped += messages.is_broken(entry.record)
            return
        self._pairs.add(self._seen, message)
        self._seen += 1
        if not self._is_full:
            self.lines.append(entry.raw)
            self.sums.append(self.sums[-1] + self._counter(entry.raw))

    def choose(self, *, ended: bool) -> Choice | int:
        """Return the choice; or how many lines must be kept to make it: the newest messages are one long unit.

        Args:
            ended: whether the branch was seen to its end.
        """
        replayed = self._seen if self._after is None or self._branch.keeps else self._after
        if replayed == 0:
            return self._nothing_but_a_summary()
        allowed = self._allowed(min(len(self.lines), replayed), replayed)
        if self._after is not None:
            with_summary = [n for n in allowed if n >= (self._after or 0) and self._fits(n, self.summary_tokens)]
            if with_summary:
                return Choice(with_summary[-1], True, False, ended and with_summary[-1] == replayed)
        fitting = [n for n in allowed if n > 0 and self._fits(n)]
        if fitting:
            return Choice(fitting[-1], False, False, ended and self._after is None and fitting[-1] == replayed)
        unit = self._newest_unit(replayed)
        if unit > len(self.lines):
            return unit
        return Choice(unit, False, True, ended and self._after is None and unit == replayed)

    def _nothing_but_a_summary(self) -> Choice:
        there = self._after is not None
        return Choice(0, there, there and not self._fits(0, self.summary_tokens), True)

    def _fits(self, count: int, summary_tokens: int = 0) -> bool:
        return self.sums[count] + summary_tokens <= self._max

    def _allowed(self, most: int, replayed: int) -> list[int]:
        """Return how many messages a window may have, so that none of its results answers a call outside of it.

        A call among what is not replayed any more is no part of the conversation, and holds nothing together.
        """
        allowed, needed = [0], 0
        for result in range(most):
            need = self._pairs.longest([result])
            needed = max(needed, need if need <= replayed else 0)
            if needed <= result + 1:
                allowed.append(result + 1)
        return allowed

    def _newest_unit(self, replayed: int) -> int:
        count, need = 0, 1
        while count < need <= replayed:
            count, need = need, max(need, self._pairs.longest(range(count, need)))
        return count


class Cut:
    """Finds where a compaction cuts the branch, and counts what was replayed until then."""

    def __init__(self, branch: Branch, id: str, upto: str | None, counter: Counter | None) -> None:
        """`id`: what the compaction would be called. `counter`: None where tokens are not wanted."""
        self._branch = branch
        self._id, self._upto, self._counter = id, upto, counter
        self._pairs = Pairs()
        self._seen = 0
        self._tokens = {True: 0, False: 0}
        self._found: bool | None = None
        self._kept: frozenset[int] = frozenset()
        self.leaf: Entry | None = None

    @property
    def satisfied(self) -> bool:
        """Whether older entries cannot change the answer."""
        settled = self._upto is None or (self._found is not None and not self._unanswered())
        return self.leaf is not None and settled and self._counter is None

    def see(self, record: Record | None) -> None:
        """Take note of a line, on the branch or not. Raises: Conflict where the id is taken."""
        if record is not None and record.id == self._id:
            raise Conflict(f"a line with the new line's id {self._id} is there already", None)

    def take(self, entry: Entry) -> None:
        """Take the next older entry of the branch."""
        self.leaf = self.leaf or entry
        newer = self._branch.compaction is None or entry is self._branch.compaction
        message = messages.message_of(entry.record)
        if message is not None:
            self._pairs.add(self._seen, message)
            self._seen += 1
        if self._counter is not None and (message is not None or entry is self._branch.compaction):
            self._tokens[newer] += self._counter(entry.raw)
        if self._upto is not None and entry.record.id == self._upto:
            self._found, self._kept = newer, frozenset(range(self._seen))

    def check(self) -> Entry:
        """Return the leaf, the compaction's parent. Raises: InvalidEntry where it cannot be made."""
        if self.leaf is None:
            raise InvalidEntry("there is nothing to compact: the transcript's current branch is empty")
        if self._upto is not None and (self._found is None or not (self._found or self._branch.keeps)):
            raise InvalidEntry(
                f"no line with id {self._upto!r} is replayed now: it is on another branch, was compacted before, or is "
                "not there; take the id from a window"
            )
        if self._pairs.longest(self._kept) > len(self._kept):
            raise InvalidEntry(f"the line with id {self._upto!r} answers a tool call before it; keep that call too")
        return self.leaf

    @property
    def tokens(self) -> int:
        """Tokens of what is replayed now."""
        return self._tokens[True] + (self._tokens[False] if self._branch.keeps else 0)

    def _unanswered(self) -> bool:
        return any(result in self._kept for results in self._pairs.open.values() for result in results)
