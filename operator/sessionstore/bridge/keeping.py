"""What a desk leaves to the one after it: named maps of key -> bytes, which `ancestors.py` keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sessionstore.bridge.changes import Change, Push, Sent

State = Mapping[str, Mapping[str, bytes]]
_CHANGES, _RETURNS, _SENT, _REVISIONS = NAMES = "changes", "returns", "sent", "revisions"
"""No marker is called so: markers have a dot."""


@dataclass
class Kept:
    """What a desk has to remember over a restart.

    Attributes:
        sheets: marker -> the sheet that names it, as the gateway has it; the oldest first.
        changes: key -> what the gateway did, and the store has not got yet.
        returns: key -> what the store had, lost and has to have again, before anything else is done to the key.
        sent: key -> the push that was given out, and not answered yet.
        revisions: key -> what the store confirmed for a push of ours: where it has less, it lost that.
    """

    sheets: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    returns: dict[str, Change] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, state: State) -> Kept:
        """Take over what `state` gave. Whether a push was done that was not answered is not known then."""
        return cls(
            {name: sheet for name, sheet in state.items() if name not in NAMES},
            {key: _change(packed) for key, packed in state.get(_CHANGES, {}).items()},
            {key: _change(packed) for key, packed in state.get(_RETURNS, {}).items()},
            {key: _sent(key, packed) for key, packed in state.get(_SENT, {}).items()},
            {key: int(revision) for key, revision in state.get(_REVISIONS, {}).items()},
        )

    def state(self) -> State:
        """Return all that has to be kept; sheets that did not change are the same objects as before."""
        return {
            **self.sheets,
            _CHANGES: {key: _packed_change(change) for key, change in self.changes.items()},
            _RETURNS: {key: _packed_change(change) for key, change in self.returns.items()},
            _SENT: {key: _packed_sent(sent) for key, sent in self.sent.items()},
            _REVISIONS: {key: b"%d" % revision for key, revision in self.revisions.items()},
        }


def _packed_change(change: Change) -> bytes:
    return _pack(b"%d" % change.again, change.ancestor, change.mine)


def _change(packed: bytes) -> Change:
    again, ancestor, mine = _unpack(packed)
    return Change(ancestor, mine, again == b"1")


def _packed_sent(sent: Sent) -> bytes:
    push = sent.push
    return _pack(b"%d %d %d" % (push.expected, sent.revision, sent.again), push.ancestor, push.mine, push.want)


def _sent(key: str, packed: bytes) -> Sent:
    numbers, ancestor, mine, want = _unpack(packed)
    expected, revision, again = map(int, (numbers or b"").split())
    return Sent(Push(key, ancestor, mine, want, expected), revision, bool(again), is_doubtful=True)


def _pack(*parts: bytes | None) -> bytes:
    """Write parts behind one line of their lengths; what is not there has length -1."""
    lengths = b" ".join(b"%d" % (-1 if part is None else len(part)) for part in parts)
    return lengths + b"\n" + b"".join(part or b"" for part in parts)


def _unpack(packed: bytes) -> list[bytes | None]:
    lengths, _, left = packed.partition(b"\n")
    parts: list[bytes | None] = []
    for length in map(int, lengths.split()):
        parts.append(None if length < 0 else left[:length])
        left = left[max(length, 0) :]
    return parts
