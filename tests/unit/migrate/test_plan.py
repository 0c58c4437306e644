"""What is done with a session, for every way in which source and store can stand."""

from __future__ import annotations

import dataclasses

import hypothesis
import pytest
from hypothesis import strategies

from sessionstore.migrate import plan
from sessionstore.migrate.plan import Action, Decision, Policy, Sides, Standing
from sessionstore.migrate.report import Account, Accounts
from sessionstore.migrate.rows import Name

SAME = Sides(entry_same=True, common=3, here=3, there=3, here_ms=10, there_ms=10, moved_ms=10)
EVERY_POLICY = list(Policy)


def sides(**what: object) -> Sides:
    """In sync, but for what is named."""
    return dataclasses.replace(SAME, **what)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", EVERY_POLICY)
@pytest.mark.parametrize(
    ("both", "standing", "action"),
    [
        pytest.param(SAME, Standing.SAME, Action.NOTHING, id="in sync"),
        pytest.param(None, Standing.NEW, Action.CREATE, id="the store has none"),
        pytest.param(sides(moved_ms=99), Standing.SAME, Action.FINISH, id="an earlier run ended before its last write"),
        pytest.param(
            sides(common=0, here=0, there=0, moved_ms=99), Standing.SAME, Action.NOTHING, id="no lines at all"
        ),
        pytest.param(sides(here_ms=0, there_ms=0, moved_ms=99), Standing.SAME, Action.NOTHING, id="no time to restore"),
        pytest.param(sides(common=1, there=1), Standing.NEWER_HERE, Action.ADVANCE, id="an interrupted copy"),
        pytest.param(
            sides(entry_same=False, here_ms=20), Standing.NEWER_HERE, Action.ADVANCE, id="our entry is newer"
        ),
        pytest.param(
            sides(entry_same=False, here_ms=20, common=2, there=2, moved_ms=99),
            Standing.NEWER_HERE, Action.ADVANCE, id="the gateway went on with its files",
        ),
        pytest.param(sides(there=5, moved_ms=99), Standing.NEWER_THERE, Action.NOTHING, id="lines added in the store"),
        pytest.param(
            sides(entry_same=False, there_ms=20, there=5), Standing.NEWER_THERE, Action.NOTHING, id="newer there"
        ),
        pytest.param(
            sides(entry_same=False, entry_alike=True), Standing.NEWER_HERE, Action.ADVANCE, id="it lies elsewhere now"
        ),
        pytest.param(
            sides(entry_same=False, entry_alike=True, there=5),
            Standing.NEWER_THERE, Action.NOTHING, id="it was exported, and went on in the store",
        ),
    ],
)  # fmt: skip
def test_histories_of_which_one_contains_the_other_need_no_policy(
    both: Sides | None, standing: Standing, action: Action, policy: Policy
) -> None:
    assert plan.decide(both, policy) == Decision(standing, action)


@pytest.mark.parametrize(
    ("both", "policy", "action"),
    [
        pytest.param(sides(common=1, here_ms=20, entry_same=False), Policy.NEWEST, Action.REPLACE, id="ours is newer"),
        pytest.param(sides(common=1, moved_ms=20, entry_same=False), Policy.NEWEST, Action.KEEP, id="theirs is newer"),
        pytest.param(sides(common=1, entry_same=False), Policy.NEWEST, Action.KEEP, id="a tie is the store's"),
        pytest.param(
            sides(common=1, here=4, entry_same=False), Policy.NEWEST, Action.REPLACE, id="a tie, ours is longer"
        ),
        pytest.param(sides(common=1), Policy.NEWEST, Action.REPLACE, id="our entry without our lines: interrupted"),
        pytest.param(sides(common=1, moved_ms=20), Policy.NEWEST, Action.KEEP, id="our entry, lines written since"),
        pytest.param(sides(entry_same=False), Policy.NEWEST, Action.KEEP, id="entries differ at one time"),
        pytest.param(sides(common=1, moved_ms=99), Policy.KEEP_SOURCE, Action.REPLACE, id="KeepSource"),
        pytest.param(sides(common=1, here_ms=99), Policy.KEEP_STORE, Action.KEEP, id="KeepStore"),
        pytest.param(sides(common=1), Policy.FAIL, Action.REFUSE, id="Fail"),
    ],
)
def test_a_conflict_is_settled_by_the_policy(both: Sides, policy: Policy, action: Action) -> None:
    assert plan.decide(both, policy) == Decision(Standing.CONFLICT, action)


@hypothesis.given(
    strategies.builds(
        lambda same, common, here, there, times: Sides(same, common, common + here, common + there, *times),
        strategies.booleans(),
        strategies.integers(0, 2),
        strategies.integers(0, 2),
        strategies.integers(0, 2),
        strategies.tuples(*[strategies.integers(0, 2)] * 3),
    ),
    strategies.sampled_from(EVERY_POLICY),
)
def test_lines_that_only_the_store_has_are_never_dropped_without_a_conflict(both: Sides, policy: Policy) -> None:
    decision = plan.decide(both, policy)

    if decision.standing is not Standing.CONFLICT and both.there > both.common:
        assert decision.action is Action.NOTHING
    if decision.action is Action.ADVANCE:
        assert both.common == both.there


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        pytest.param(
            Decision(Standing.SAME, Action.NOTHING), Accounts(Account(present=1), Account(present=5)), id="in sync"
        ),
        pytest.param(
            Decision(Standing.NEWER_HERE, Action.ADVANCE),
            Accounts(Account(migrated=1), Account(migrated=3, present=2)),
            id="some lines were there",
        ),
        pytest.param(
            Decision(Standing.CONFLICT, Action.KEEP),
            Accounts(Account(conflicts=1), Account(conflicts=5)),
            id="a conflict",
        ),
    ],
)
def test_a_session_and_its_lines_are_counted_once(decision: Decision, expected: Accounts) -> None:
    assert plan.intent(decision, 2).accounts(Name("session", "main", "k"), 5) == expected


@pytest.mark.parametrize(
    ("exists", "is_longer", "common", "here", "standing"),
    [
        pytest.param(True, False, 2, 2, Standing.SAME, id="in sync"),
        pytest.param(False, False, 0, 0, Standing.NEW, id="the store has none"),
        pytest.param(True, False, 1, 2, Standing.NEWER_HERE, id="an interrupted copy"),
        pytest.param(True, False, 0, 2, Standing.NEWER_HERE, id="made, and interrupted"),
        pytest.param(True, True, 2, 2, Standing.NEWER_THERE, id="the store has more"),
        pytest.param(True, True, 1, 2, Standing.CONFLICT, id="other lines"),
    ],
)
def test_an_archive_stands(exists: bool, is_longer: bool, common: int, here: int, standing: Standing) -> None:
    assert plan.decide_archive(exists=exists, is_longer=is_longer, common=common, here=here) is standing
