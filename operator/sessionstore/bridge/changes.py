"""What a gateway did to one entry, and what that asks of the store. Pure; `desk.py` keeps them for all entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sessionstore.bridge import merge
from sessionstore.bridge.fields import same, same_or_absent


@dataclass(frozen=True, slots=True)
class Held:
    """What the store has of a session. An entry is laid out as in a sheet.

    Attributes:
        revision: 0 where the store knows nothing of it, not even that it was deleted.
        raw: None where there is no entry.
    """

    revision: int
    raw: bytes | None


NEVER = Held(0, None)


@dataclass(frozen=True, slots=True)
class Push:
    """What has to be done to the store.

    Attributes:
        ancestor: what the gateway's change began with; None for an entry that it made, or whose past is not known.
        mine: what the gateway has now; None where it deleted the entry.
        want: what the store has to have; None: no entry.
        expected: the revision that the store must be at, as `Store.set` and `delete` take it: 0 where it has no entry.
    """

    key: str
    ancestor: bytes | None
    mine: bytes | None
    want: bytes | None
    expected: int


@dataclass(frozen=True, slots=True)
class Change:
    """An entry before and after; None where there is none.

    Attributes:
        again: brings back what the store had and lost, so parts of it may be there already.
    """

    ancestor: bytes | None
    mine: bytes | None
    again: bool = False

    @property
    def is_none(self) -> bool:
        """Whether nothing was changed, or all of it was undone."""
        return same_or_absent(self.ancestor, self.mine)

    def followed_by(self, ancestor: bytes | None, mine: bytes | None) -> Change:
        """Return this change and then that one, which began with `ancestor`, and may not have seen this one."""
        if same_or_absent(ancestor, self.mine):
            return Change(self.ancestor, mine, self.again)
        if mine is None or self.mine is None:
            return Change(self.ancestor, self.mine if mine is None else mine, self.again)
        return Change(self.ancestor, merge.merge(ancestor, mine, self.mine), self.again)

    def push(self, key: str, held: Held) -> Push | None:
        """Return what has to be done where the store has `held`; None where there is nothing to do."""
        expected = held.revision if held.raw is not None else 0
        if self.is_none:
            return None
        if self.mine is None:
            is_as_seen = held.raw is not None and is_shown(held.raw, self.ancestor)
            return Push(key, self.ancestor, None, None, expected) if is_as_seen else None
        want = self.mine
        if held.raw is not None:
            want = merge.merge(self.ancestor, self.mine, held.raw, again=self.again)
        return None if same_or_absent(want, held.raw) else Push(key, self.ancestor, self.mine, want, expected)


@dataclass(frozen=True, slots=True)
class Sent:
    """A push that was given out, and not answered yet.

    Attributes:
        revision: what the store was at, tombstones counted.
        is_doubtful: it was given out before, so a refusal may be of the second only.
    """

    push: Push
    revision: int
    again: bool
    is_doubtful: bool = False

    def may_come(self, held: Held) -> bool:
        """Return whether nothing is known of it: the store is as it was. Then the same may be asked for once more."""
        return held.revision == self.revision

    def was_done(self, held: Held) -> bool:
        """Return whether what the store has now tells that this has been done, and is there still."""
        if held.revision <= self.revision:
            return False
        if held.revision == self.revision + 1:
            return same_or_absent(held.raw, self.push.want)
        if held.raw is None or self.push.mine is None:
            # What was deleted since may have been ours; it must not come back.
            return held.raw is None
        return merge.contains(self.push.ancestor, self.push.mine, held.raw)


def is_shown(raw: bytes, seen: bytes | None) -> bool:
    """Return whether a gateway that has `seen` was shown this entry, as it is or masked."""
    return seen is not None and (same(raw, seen) or same(merge.masked(raw), seen))


def is_known(key: str, raw: bytes, sheets: Iterable[Mapping[str, bytes]]) -> bool:
    """Return whether some of these sheets has this entry."""
    seen = {sheet.get(key) for sheet in sheets}
    return raw in seen or any(is_shown(raw, one) for one in seen)
