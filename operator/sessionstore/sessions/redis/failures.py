"""What goes wrong between us and a server, as one value; which of it may be tried again; and our words for it. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import Enum

from sessionstore.sessions.exceptions import Unavailable, Unreadable
from sessionstore.sessions.redis.resp import Refusal

# What the server's error texts begin with, or hold -> our reason. Redis 7.0.15 and Valkey 8, `redis.conf` and source.
_REASONS: tuple[tuple[str, str], ...] = (
    ("NOAUTH", "auth"),
    ("WRONGPASS", "auth"),
    ("NOPERM", "permission"),
    ("can't run this command", "permission"),
    ("can't access at least one of the keys", "permission"),
    ("READONLY", "readonly"),
    ("NOREPLICAS", "readonly"),
    ("MISCONF", "readonly"),
    ("OOM", "full"),
    ("LOADING", "loading"),
    ("MASTERDOWN", "loading"),
    ("CLUSTERDOWN", "loading"),
    ("TRYAGAIN", "loading"),
    ("BUSY", "loading"),
    ("UNBLOCKED", "connection"),
    ("MOVED", "connection"),
    ("ASK", "connection"),
    ("NOSCRIPT", "connection"),
)


OUT_OF_TIME = "no connection in time"
"""The text of a Failure that says nothing of its own: what was met before it says more."""


class Failure(Exception):
    """A command without its answer. It stays inside of this package.

    Attributes:
        text: what happened, for people.
        reason: as of `Unavailable`.
        unknown: the server may have carried the command out. False is certain: it was not sent, or was refused.
        code: the first word of the server's refusal; a word of ours for what no server said and waiting does not mend;
            "" otherwise.
        host: of the server that refused, where a refusal may point to another port of the same host; else "".
    """

    def __init__(self, text: str, reason: str, *, unknown: bool = False, code: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.reason = reason
        self.unknown = unknown
        self.code = code
        self.host = ""


def closed() -> Failure:
    """Make the failure of a command that comes to a store which was closed; it is not tried again."""
    return Failure("the store was closed", "connection", code="CLOSED")


class Manner(Enum):
    """What to do about a failure of a command that may be sent again."""

    RAISE = "say so"
    ONCE = "connect anew and try once more"
    WAIT = "wait and try again until the deadline"
    FOLLOW = "go where the server points to"


_MANNERS = {
    "MOVED": Manner.FOLLOW,
    "ASK": Manner.FOLLOW,
    "NOAUTH": Manner.ONCE,
    "WRONGPASS": Manner.ONCE,
    "READONLY": Manner.ONCE,
    "TRYAGAIN": Manner.WAIT,
    "CLUSTERDOWN": Manner.WAIT,
    "LOADING": Manner.WAIT,
    "MASTERDOWN": Manner.WAIT,
    "BUSY": Manner.WAIT,
    "UNBLOCKED": Manner.WAIT,
}
# code -> what a person could do about it, where the text does not say.
_HINTS = {"MOVED": " (this server is part of a Redis Cluster: set redis_cluster: true)"}
# What a script meets that names a list by itself while the slot is on its way to another server.
_ON_ITS_WAY = "Script attempted to access a non local key"
# What a primary says while another one takes its place.
_CHANGING_OVER = frozenset({"READONLY", "NOREPLICAS"})


_NO_LOGIN = "NOAUTH HELLO must be called"


def failure_of(refusal: Refusal) -> Failure:
    """Read a refusal. One that is not known may come from the middle of a script: its outcome counts as unknown."""
    text = refusal.text
    if _ON_ITS_WAY in text:
        # Our scripts touch every key before they change any, so nothing was done (lua/shared.lua).
        return Failure(text, "loading", code="TRYAGAIN")
    for mark, reason in _REASONS:
        if text.startswith(mark) or (" " in mark and mark in text):
            return Failure(text, reason, code=refusal.code)
    return Failure(text, "connection", unknown=refusal.code != "WRONGTYPE", code=refusal.code)


def manner_of(failure: Failure, *, fails_over: bool) -> Manner:
    """Return what to do about `failure`.

    Args:
        fails_over: there are servers that may take over, and they can be found.
    """
    if not failure.code:
        return Manner.WAIT
    if fails_over and failure.code in _CHANGING_OVER:
        return Manner.WAIT
    return _MANNERS.get(failure.code, Manner.RAISE)


def translate(failure: Failure, where: str, *, writes: bool) -> Unavailable | Unreadable:
    """Return the library's error. `where` names the server; `writes`: the command would have changed something."""
    if failure.code == "WRONGTYPE":
        return Unreadable("it is of another type than this library writes")
    doubt = "; whether the write happened is not known, so read before you write again"
    # What the server says of its protocol helps nobody who forgot to name the password.
    before, found, _ = failure.text.partition(_NO_LOGIN)
    text = f"{before}NOAUTH, the server asks for a password" if found else failure.text
    said = text.rstrip(".") + _HINTS.get(failure.code, "") + (doubt if writes and failure.unknown else "")
    return Unavailable(f"{where}: {said}", failure.reason)


@contextlib.contextmanager
def telling(what: str) -> Iterator[None]:
    """Name in an Unreadable what it is that cannot be read; a command alone does not know."""
    try:
        yield
    except Unreadable as error:
        raise Unreadable(f"{what} cannot be read: {error}; look at it with redis-cli") from error
