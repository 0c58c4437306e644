"""Decides about the entries of one agent: sheets read and records told in, pushes and placements out. Pure.

`room.py` calls this in between of what it reads, writes and asks for. Nothing here knows a file, a store or a clock.
docs/design/0015-bridge.md has the rules; tests/unit/bridge/test_desk_machine.py holds several of these to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType

from sessionstore.bridge import merge
from sessionstore.bridge.changes import NEVER, Change, Held, Push, Sent, is_known, is_shown
from sessionstore.bridge.fields import same, same_or_absent
from sessionstore.bridge.keeping import Kept, State

KEPT_ENTRIES = 200_000
"""Of all ancestors together; their bytes are shared. A gateway may be based on any sheet that was placed since it last
wrote, so many are kept where they are small: 400 of 500 entries, 40 of 5,000."""
KEPT_SHEETS = 8
"""At least, however large they are."""
UNMARKED = ""
"""Stands for the marker of a sheet that has none."""

__all__ = ["Desk", "Held", "Placement", "Push"]


@dataclass(frozen=True)
class Placement:
    """A sheet to put in place: without the marker's own entry, in order."""

    marker: str
    entries: Mapping[str, bytes]


class Desk:
    """One agent's entries, between a gateway's sheet and the store."""

    def __init__(self, name: str, state: State = MappingProxyType({})) -> None:
        """Begin.

        Args:
            name: unique a start; markers are `<name>.<n>`.
            state: of the desk before, as `state` gave it.
        """
        self._name, self._placements = name, 0
        self._kept = Kept.load(state)
        self._view: dict[str, Held] = {}
        self._shown: dict[str, bytes] = {}
        self._owned: set[str] = set()
        self._unfit: dict[str, bytes | None] = {}
        self._gone_back: set[str] = set()
        self._sheet: Mapping[str, bytes] | None = None
        self._marker = UNMARKED

    # -- the store ------------------------------------------------------------------------------

    def told(self, key: str, held: Held) -> None:
        """Take what the store has, by the feed or a snapshot; what is no newer than what is known is ignored."""
        before = self._view.get(key)
        if before is None or held.revision > before.revision:
            self._hold(key, held)
            if key in self._kept.sent and held.revision < self._kept.sent[key].revision:
                # The store went back, and may come to that revision again with something else.
                del self._kept.sent[key]
            if before is None and (held == NEVER or held.revision < self._kept.revisions.get(key, 0)):
                self._gone_back.add(key)
                self._restore(self.sheet)

    def lost(self, key: str, held: Held) -> None:
        """Take what the store went back to; it had told something later, which it is given again.

        A deletion is repeated where what came back is known from before it; else it has been changed since.
        """
        before = self._view.get(key, NEVER)
        self._kept.sent.pop(key, None)
        self._hold(key, held)
        if before.raw is not None and not same_or_absent(before.raw, held.raw):
            self._bring_back(key, Change(held.raw, before.raw, again=True))
            return
        was_deleted = before.raw is None and before.revision > 0
        if was_deleted and held.raw is not None and is_known(key, held.raw, self._kept.sheets.values()):
            self._kept.changes.setdefault(key, Change(held.raw, None))

    def unknown(self) -> list[str]:
        """Return keys of which the store must say whether it deleted them or never had them: tell what it says.

        A snapshot has no tombstones, so after one these are the keys of the sheet that it does not have.
        """
        kept = self._kept
        based = (key for key, change in kept.changes.items() if change.ancestor is not None)
        unchanged = (key for key in self._sheet or {} if key not in kept.changes)
        return [key for key in dict.fromkeys(chain(based, unchanged, kept.returns, kept.sent)) if key not in self._view]

    def revision(self, key: str) -> int:
        """Return what the store was told to be at; 0 where nothing is known."""
        return self._view.get(key, NEVER).revision

    def owns(self, key: str, owned: bool) -> None:
        """Say whether this gateway may see the session running."""
        (self._owned.add if owned else self._owned.discard)(key)
        if key in self._view:
            self._hold(key, self._view[key])

    # -- the sheet ------------------------------------------------------------------------------

    def read(self, marker: str | None, entries: Mapping[str, bytes]) -> None:
        """Take a sheet that the gateway wrote. Of several that it wrote, the oldest first."""
        ancestor = self._kept.sheets.get(marker) if marker else None
        if ancestor is None:
            self._read_strange(entries)
        else:
            self._read_based(ancestor, entries)
        self._restore(entries if ancestor is None else ancestor)
        self._sheet, self._marker = entries, marker or UNMARKED
        self._remember(self._marker, entries)

    def gone(self) -> None:
        """Take it that there is no sheet; nothing is inferred from that."""
        self._sheet, self._marker = None, UNMARKED

    @property
    def sheet(self) -> Mapping[str, bytes]:
        """The entries that are in place, as far as is known: what is read next shares most of them."""
        return self._sheet or {}

    def placement(self, *, refresh: bool = False) -> Placement | None:
        """Return the sheet that has to be put in place; None where it is there.

        Args:
            refresh: put one in place in any case, for the marker's time.
        """
        entries = self._entries()
        if not refresh and self._is_in_place(entries):
            return None
        self._placements += 1
        placement = Placement(f"{self._name}.{self._placements}", entries)
        self._remember(placement.marker, entries)
        return placement

    def placed(self, placement: Placement) -> None:
        """Take it that this is in place. Where it was for a moment only, a sheet may name it all the same."""
        self._sheet, self._marker = placement.entries, placement.marker

    def withdrawn(self, placement: Placement) -> None:
        """Take it that this never was in place: nobody is based on it, and older ancestors are kept instead."""
        self._kept.sheets.pop(placement.marker, None)

    # -- what has to be done --------------------------------------------------------------------

    def pushes(self) -> list[Push]:
        """Return what has to be done to the store now, at most one a key; what was not answered comes again."""
        kept, unknown = self._kept, set(self.unknown())
        keys = [key for key in dict.fromkeys(chain(kept.sent, kept.returns, kept.changes)) if key not in unknown]
        return [push for key in keys if (push := self._push(key)) is not None]

    def pushed(self, push: Push, held: Held) -> None:
        """Take it that this is done."""
        sent = self._answered(push)
        if sent is not None:
            self._done(sent)
            self._confirmed(push.key, held)
            self.told(push.key, held)

    def refused(self, push: Push, held: Held) -> None:
        """Take it that this was not done, since the store has `held`; `pushes` gives what follows from that."""
        sent = self._answered(push)
        if sent is not None:
            self.told(push.key, held)
            self._settle(sent)

    def unfit(self, push: Push) -> None:
        """Take it that no store can keep this: it stays in this sheet alone, until the gateway changes it."""
        if self._answered(push) is not None:
            self._unfit[push.key] = push.mine

    def state(self) -> State:
        """Return what the next desk needs. Keep it before pushes are sent, and before a placement is put in place."""
        return self._kept.state()

    # -- how ------------------------------------------------------------------------------------

    def _hold(self, key: str, held: Held) -> None:
        self._view[key] = held
        if held.raw is None:
            self._shown.pop(key, None)
        else:
            self._shown[key] = held.raw if key in self._owned else merge.masked(held.raw)

    def _restore(self, had: Mapping[str, bytes]) -> None:
        """Give the store again what it had before this desk began; who told of that is gone, but the sheet has it."""
        for key in [key for key in self._gone_back if key in had]:
            self._gone_back.discard(key)
            raw, change = self._view[key].raw, self._kept.changes.get(key)
            known = change.ancestor if change is not None else had[key]
            if known is not None and not (raw is not None and is_shown(raw, known)):
                # The gateway may not have seen yet what the store had beside its own: neither follows from the other.
                self._bring_back(key, Change(None, known, again=True))

    def _bring_back(self, key: str, change: Change) -> None:
        earlier = self._kept.returns.get(key)
        if earlier is not None and earlier.mine is not None and change.mine is not None:
            change = replace(change, mine=merge.merge(change.ancestor, earlier.mine, change.mine, again=True))
        self._kept.returns[key] = change

    def _read_based(self, ancestor: Mapping[str, bytes], entries: Mapping[str, bytes]) -> None:
        for key, raw in entries.items():
            before = ancestor.get(key)
            if before is not raw and not same_or_absent(before, raw):
                self._changed(key, before, raw)
        for key, before in ancestor.items():
            if key not in entries:
                self._changed(key, before, None)

    def _read_strange(self, entries: Mapping[str, bytes]) -> None:
        """Take a sheet whose past is not known: what it does not have may never have been in it."""
        known = [self._shown, *self._kept.sheets.values()]
        for key, raw in entries.items():
            if not is_known(key, raw, known):
                self._changed(key, None, raw)

    def _changed(self, key: str, before: bytes | None, raw: bytes | None) -> None:
        change = self._kept.changes.get(key)
        self._kept.changes[key] = change.followed_by(before, raw) if change else Change(before, raw)

    def _remember(self, marker: str, entries: Mapping[str, bytes]) -> None:
        sheets = self._kept.sheets
        sheets.pop(marker, None)
        sheets[marker] = entries
        size = sum(map(len, sheets.values()))
        for name in [name for name in sheets if name not in (marker, self._marker)]:
            if len(sheets) <= KEPT_SHEETS or size <= KEPT_ENTRIES:
                break
            size -= len(sheets.pop(name))

    def _entries(self) -> dict[str, bytes]:
        """Return the sheet that ought to be: in the gateway's order, what is new behind."""
        keys: Iterable[str] = chain(self.sheet, self._kept.changes, self._view)
        found = ((key, self._entry(key)) for key in dict.fromkeys(keys))
        return {key: raw for key, raw in found if raw is not None}

    def _entry(self, key: str) -> bytes | None:
        """Return what the gateway has to see: its own as long as the store has not got it, then the store's."""
        if key in self._kept.changes:
            return self._kept.changes[key].mine
        had, shown = self.sheet.get(key), self._shown.get(key)
        if key in self._kept.returns or key not in self._view:
            return had
        if had is not None and shown is not None and shown is not had and same(shown, had):
            # The gateway wrote the same in other words, and would do so again.
            self._shown[key] = had
            return had
        return shown

    def _is_in_place(self, entries: Mapping[str, bytes]) -> bool:
        is_marked = self._sheet is not None and self._marker != UNMARKED
        return is_marked and entries == self._sheet

    def _push(self, key: str) -> Push | None:
        kept, held = self._kept, self._view.get(key, NEVER)
        sent = kept.sent.get(key)
        if sent is not None:
            if sent.may_come(held):
                kept.sent[key] = replace(sent, is_doubtful=True)
                return sent.push
            self._settle(kept.sent.pop(key), doubtful=True)
        for changes in (kept.returns, kept.changes):
            if key in changes and not self._is_unfit(key, changes[key]):
                push = changes[key].push(key, held)
                if push is not None:
                    kept.sent[key] = Sent(push, held.revision, changes is kept.returns)
                    return push
                del changes[key]
        return None

    def _is_unfit(self, key: str, change: Change) -> bool:
        return key in self._unfit and self._unfit[key] == change.mine

    def _answered(self, push: Push) -> Sent | None:
        """Return what is known of a push; None where its answer says nothing any more."""
        sent = self._kept.sent.get(push.key)
        return self._kept.sent.pop(push.key) if sent is not None and sent.push == push else None

    def _settle(self, sent: Sent, doubtful: bool = False) -> None:
        """Find out what became of a push that was not answered, or was refused when it was sent once more."""
        held = self._view.get(sent.push.key, NEVER)
        if (doubtful or sent.is_doubtful) and sent.was_done(held):
            self._done(sent)
            self._confirmed(sent.push.key, held)

    def _confirmed(self, key: str, held: Held) -> None:
        if held.raw is None:
            self._kept.revisions.pop(key, None)
        else:
            self._kept.revisions[key] = held.revision

    def _done(self, sent: Sent) -> None:
        changes = self._kept.returns if sent.again else self._kept.changes
        change = changes.pop(sent.push.key, None)
        left = Change(sent.push.mine, change.mine, change.again) if change is not None else None
        if left is not None and not left.is_none:
            changes[sent.push.key] = left
