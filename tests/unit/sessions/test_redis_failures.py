"""What a server's refusal means: our word for it, whether a write may have happened, and what to do."""

from __future__ import annotations

import pytest

from sessionstore.sessions import Unavailable, Unreadable
from sessionstore.sessions.redis.failures import Failure, Manner, failure_of, manner_of, translate
from sessionstore.sessions.redis.resp import Refusal

# text -> reason, unknown, manner with one server, manner where another one may take over
REFUSALS = [
    ("NOAUTH Authentication required.", "auth", False, Manner.ONCE, Manner.ONCE),
    ("WRONGPASS invalid username-password pair", "auth", False, Manner.ONCE, Manner.ONCE),
    ("NOPERM this user has no permissions", "permission", False, Manner.RAISE, Manner.RAISE),
    ("ERR The user executing the script can't run this command", "permission", False, Manner.RAISE, Manner.RAISE),
    ("READONLY You can't write against a read only replica.", "readonly", False, Manner.ONCE, Manner.WAIT),
    ("NOREPLICAS Not enough good replicas to write.", "readonly", False, Manner.RAISE, Manner.WAIT),
    ("MISCONF Redis is configured to save RDB snapshots", "readonly", False, Manner.RAISE, Manner.RAISE),
    ("OOM command not allowed when used memory > 'maxmemory'.", "full", False, Manner.RAISE, Manner.RAISE),
    ("LOADING Redis is loading the dataset in memory", "loading", False, Manner.WAIT, Manner.WAIT),
    ("MASTERDOWN Link with MASTER is down", "loading", False, Manner.WAIT, Manner.WAIT),
    ("BUSY Redis is busy running a script.", "loading", False, Manner.WAIT, Manner.WAIT),
    ("CLUSTERDOWN The cluster is down", "loading", False, Manner.WAIT, Manner.WAIT),
    ("TRYAGAIN Multiple keys request during rehashing of slot", "loading", False, Manner.WAIT, Manner.WAIT),
    ("MOVED 3999 127.0.0.1:6381", "connection", False, Manner.FOLLOW, Manner.FOLLOW),
    ("ASK 3999 127.0.0.1:6381", "connection", False, Manner.FOLLOW, Manner.FOLLOW),
    ("UNBLOCKED force unblock from blocking operation", "connection", False, Manner.WAIT, Manner.WAIT),
    ("NOSCRIPT No matching script.", "connection", False, Manner.RAISE, Manner.RAISE),
    ("ERR user_script:7: attempt to compare nil with number", "connection", True, Manner.RAISE, Manner.RAISE),
]


@pytest.mark.parametrize(("text", "reason", "unknown", "alone", "with_others"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_a_refusal_is_understood(text: str, reason: str, unknown: bool, alone: Manner, with_others: Manner) -> None:
    failure = failure_of(Refusal(text))
    assert (failure.reason, failure.unknown) == (reason, unknown)
    assert manner_of(failure, fails_over=False) is alone
    assert manner_of(failure, fails_over=True) is with_others


def test_silence_is_waited_out() -> None:
    assert manner_of(Failure("the connection was lost", "connection"), fails_over=False) is Manner.WAIT


@pytest.mark.parametrize(
    ("unknown", "writes", "doubt"),
    [
        pytest.param(True, True, True, id="a write that was sent"),
        pytest.param(False, True, False, id="a write that was not"),
        pytest.param(True, False, False, id="a read"),
    ],
)
def test_only_a_write_that_may_have_happened_is_in_doubt(unknown: bool, writes: bool, doubt: bool) -> None:
    error = translate(Failure("lost.", "connection", unknown=unknown), "redis at h:1", writes=writes)
    assert isinstance(error, Unavailable)
    assert str(error).startswith("redis at h:1: lost")
    assert ("not known" in str(error)) is doubt


def test_a_key_of_another_type_is_unreadable_and_not_in_doubt() -> None:
    failure = failure_of(Refusal("WRONGTYPE Operation against a key holding the wrong kind of value"))
    assert isinstance(translate(failure, "h", writes=True), Unreadable)
