"""What a desk asks for, case by case; the machine beside this has all of it in any order."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sessionstore.bridge import desk as desks
from sessionstore.bridge.desk import Desk, Held, Placement, Push
from tests.unit.bridge.gateways import entry

A, B, C = (entry(sessionId="s", updatedAt=number, field=number) for number in (1, 2, 3))
RUNNING = entry(sessionId="s", status="running", startedAt=5, endedAt=4)
MASKED = RUNNING.replace(b"running", b"done")


def begun(held: Mapping[str, Held], name: str = "b.1") -> tuple[Desk, Placement]:
    """Make a desk whose sheet is in place."""
    desk = Desk(name)
    for key, one in held.items():
        desk.told(key, one)
    placement = desk.placement()
    assert placement is not None
    desk.placed(placement)
    return desk, placement


def test_in_sync_there_is_nothing_to_do() -> None:
    desk, placement = begun({"k": Held(1, A)})
    assert placement == Placement("b.1.1", {"k": A})
    desk.read(placement.marker, {"k": A})
    assert (desk.pushes(), desk.placement(), desk.unknown()) == ([], None, [])


def test_a_first_sheet_is_placed_even_where_there_is_nothing_to_show() -> None:
    assert Desk("b.1").placement() == Placement("b.1.1", {})


def test_a_marker_is_placed_anew_where_that_is_asked_for() -> None:
    desk, _ = begun({"k": Held(1, A)})
    assert desk.placement(refresh=True) == Placement("b.1.2", {"k": A})


@pytest.mark.parametrize(
    ("sheet", "expected"),
    [
        pytest.param({"k": B}, [Push("k", A, B, B, 1)], id="changed"),
        pytest.param({"k": A, "n": B}, [Push("n", None, B, B, 0)], id="made"),
        pytest.param({}, [Push("k", A, None, None, 1)], id="deleted"),
        pytest.param({"k": A.replace(b" ", b"")}, [], id="laid out otherwise"),
    ],
)
def test_what_a_gateway_did_is_pushed(sheet: Mapping[str, bytes], expected: list[Push]) -> None:
    desk, placement = begun({"k": Held(1, A)})
    desk.read(placement.marker, sheet)
    assert desk.pushes() == expected
    assert desk.placement() is None


def test_what_is_done_is_not_asked_for_again() -> None:
    desk, placement = begun({"k": Held(1, A)})
    desk.read(placement.marker, {"k": B})
    [push] = desk.pushes()
    desk.pushed(push, Held(2, B))
    assert (desk.pushes(), desk.placement()) == ([], None)


def test_what_the_gateway_did_meanwhile_comes_behind_what_is_under_way() -> None:
    desk, placement = begun({"k": Held(1, A)})
    desk.read(placement.marker, {"k": B})
    [push] = desk.pushes()
    desk.read(placement.marker, {"k": C})
    desk.pushed(push, Held(2, B))
    assert desk.pushes() == [Push("k", B, C, C, 2)]


def test_a_session_that_was_made_and_deleted_while_it_was_pushed_is_deleted() -> None:
    desk, placement = begun({})
    desk.read(placement.marker, {"n": A})
    [push] = desk.pushes()
    desk.read(placement.marker, {})
    desk.pushed(push, Held(1, A))
    assert desk.pushes() == [Push("n", A, None, None, 1)]
    assert desk.placement() is None


def test_after_a_refusal_the_latest_is_merged_with_what_is_there() -> None:
    one, two, three = (entry(sessionId="s", updatedAt=1, **more) for more in ({"a": 1}, {"a": 2}, {"b": 1}))
    desk, placement = begun({"k": Held(1, entry(sessionId="s", updatedAt=1))})
    desk.read(placement.marker, {"k": one})
    [push] = desk.pushes()
    desk.read(placement.marker, {"k": two})
    desk.refused(push, Held(2, three))
    [again] = desk.pushes()
    assert (again.mine, again.want, again.expected) == (two, entry(sessionId="s", updatedAt=1, a=2, b=1), 2)


def test_a_deletion_of_what_was_changed_since_is_dropped() -> None:
    desk, placement = begun({"k": Held(1, A)})
    desk.read(placement.marker, {})
    [push] = desk.pushes()
    desk.refused(push, Held(2, B))
    assert desk.pushes() == []
    assert desk.placement() == Placement("b.1.2", {"k": B})


def test_a_change_of_what_was_deleted_makes_it_anew() -> None:
    desk, placement = begun({"k": Held(1, A)})
    desk.told("k", Held(2, None))
    desk.read(placement.marker, {"k": B})
    assert desk.pushes() == [Push("k", A, B, B, 0)]


def test_a_session_that_others_deleted_goes_from_the_sheet() -> None:
    desk, _ = begun({"k": Held(1, A), "l": Held(1, B)})
    desk.told("k", Held(2, None))
    assert desk.placement() == Placement("b.1.2", {"l": B})
    assert desk.pushes() == []


def test_what_is_no_newer_is_ignored() -> None:
    desk, _ = begun({"k": Held(2, B)})
    desk.told("k", Held(1, A))
    desk.told("k", Held(2, A))
    assert desk.placement() is None


def test_the_sheet_keeps_its_order_and_new_keys_come_behind() -> None:
    desk, placement = begun({"a": Held(1, A), "b": Held(1, A)})
    desk.read(placement.marker, {"c": A, "b": A, "a": A})
    desk.told("d", Held(1, B))
    desk.told("b", Held(2, B))
    found = desk.placement()
    assert found is not None
    assert list(found.entries.items()) == [("c", A), ("b", B), ("a", A), ("d", B)]


def test_a_sheet_on_an_older_marker_is_compared_with_what_that_showed() -> None:
    desk, first = begun({"k": Held(1, A)})
    desk.told("l", Held(1, B))
    second = desk.placement()
    assert second is not None
    desk.placed(second)
    desk.read(first.marker, {"k": B})
    assert desk.pushes() == [Push("k", A, B, B, 1)]
    assert desk.placement() == Placement("b.1.3", {"k": B, "l": B})


def test_what_a_gateway_writes_is_a_chain() -> None:
    desk, placement = begun({"k": Held(1, A)})
    desk.read(placement.marker, {"k": B, "n": A})
    for push in desk.pushes():
        desk.pushed(push, Held(push.expected + 1, push.want))
    desk.told("n", Held(2, B))
    desk.read(placement.marker, {"k": B, "n": A, "m": A})
    assert desk.pushes() == [Push("m", None, A, A, 0)]


@pytest.mark.parametrize("marker", [None, "of.somebody.else"])
def test_a_sheet_that_nobody_knows_deletes_nothing_and_what_it_has_unchanged_is_no_change(marker: str | None) -> None:
    desk, _ = begun({"k": Held(1, A), "l": Held(1, A)})
    desk.told("k", Held(2, B))
    desk.read(marker, {"k": A, "n": C})
    assert desk.pushes() == [Push("n", None, C, C, 0)]
    assert desk.placement() == Placement("b.1.2", {"k": B, "n": C, "l": A})


@pytest.mark.parametrize(
    ("came_back", "in_place", "want"),
    [
        pytest.param({"k": B}, {}, B, id="changed, then deleted by who had not seen that"),
        pytest.param({}, {"k": B}, B, id="deleted, then changed by who had not seen that"),
        pytest.param(
            {"k": entry(sessionId="s", updatedAt=1, field=1, one=1)},
            {"k": entry(sessionId="s", updatedAt=1, field=1, two=1)},
            entry(sessionId="s", updatedAt=1, field=1, one=1, two=1),
            id="changed, then changed by who had not seen that",
        ),
    ],
)
def test_a_sheet_that_came_back_is_merged_with_the_one_that_is_in_place(
    came_back: Mapping[str, bytes], in_place: Mapping[str, bytes], want: bytes
) -> None:
    desk, first = begun({"k": Held(1, A)})
    second = desk.placement(refresh=True)
    assert second is not None
    desk.read(first.marker, came_back)
    desk.read(second.marker, in_place)
    [push] = desk.pushes()
    assert (push.want, push.expected) == (want, 1)


def test_without_a_sheet_nothing_is_inferred_and_all_is_placed() -> None:
    desk, _ = begun({"k": Held(1, A)})
    desk.gone()
    assert desk.pushes() == []
    assert desk.placement() == Placement("b.1.2", {"k": A})


# -- sessions that run --------------------------------------------------------------------------


def test_only_the_owner_sees_a_session_running() -> None:
    desk, placement = begun({"k": Held(1, RUNNING)})
    assert placement.entries == {"k": MASKED}
    desk.owns("k", True)
    shown = desk.placement()
    assert shown == Placement("b.1.2", {"k": RUNNING})
    desk.placed(shown)
    desk.owns("k", False)
    assert desk.placement() == Placement("b.1.3", {"k": MASKED})


def test_a_session_that_runs_elsewhere_is_deleted_by_who_saw_it_masked() -> None:
    desk, placement = begun({"k": Held(1, RUNNING)})
    desk.read(placement.marker, {})
    assert desk.pushes() == [Push("k", MASKED, None, None, 1)]


def test_a_change_beside_a_session_that_runs_elsewhere_leaves_it_running() -> None:
    desk, placement = begun({"k": Held(1, RUNNING)})
    labelled = entry(sessionId="s", status="done", startedAt=5, endedAt=4, label="x")
    desk.read(placement.marker, {"k": labelled})
    [push] = desk.pushes()
    assert push.want == labelled.replace(b"done", b"running")
    desk.pushed(push, Held(2, push.want))
    assert desk.placement() is None


# -- what a gateway writes in other words -------------------------------------------------------


def test_what_a_gateway_writes_in_other_words_is_no_change_and_is_left_to_it() -> None:
    stored, rewritten = entry(sessionId="s", price=1.0), entry(sessionId="s", price=1)
    desk, placement = begun({"k": Held(1, stored)})
    desk.read(placement.marker, {"k": rewritten})
    assert (desk.pushes(), desk.placement()) == ([], None)


def test_what_no_store_can_keep_stays_in_the_sheet_until_it_changes() -> None:
    desk, placement = begun({})
    desk.read(placement.marker, {"k": b"7"})
    [push] = desk.pushes()
    desk.unfit(push)
    assert (desk.pushes(), desk.placement()) == ([], None)
    desk.read(placement.marker, {"k": A})
    assert desk.pushes() == [Push("k", None, A, A, 0)]


# -- answers that do not come -------------------------------------------------------------------

COUNTED = [entry(sessionId="s", compactionCount=number, by=number) for number in range(9)]


def unanswered() -> tuple[Desk, Push]:
    """Make a desk that pushed 6 over 5, as it was, and got no answer."""
    desk, placement = begun({"k": Held(1, COUNTED[5])})
    desk.read(placement.marker, {"k": COUNTED[6]})
    [push] = desk.pushes()
    assert desk.pushes() == [push]
    return desk, push


def test_an_unanswered_push_is_asked_for_as_it_was_whatever_came_since() -> None:
    desk, push = unanswered()
    desk.read("b.1.1", {"k": COUNTED[7]})
    assert desk.pushes() == [push]


@pytest.mark.parametrize("kind", ["refused", "told"])
@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param(Held(2, COUNTED[6]), [], id="it was done"),
        pytest.param(Held(2, entry(sessionId="s", compactionCount=6, by=5)), [7], id="another's came first"),
        pytest.param(Held(3, entry(sessionId="s", compactionCount=7, by=6)), [], id="it was done, and more"),
        pytest.param(Held(3, entry(sessionId="s", compactionCount=7, by=5)), [8], id="others came first"),
        pytest.param(Held(3, None), [], id="it was deleted since"),
        pytest.param(Held(2, None), [6], id="it was deleted first"),
    ],
)
def test_what_became_of_it_is_told_by_what_the_store_has(kind: str, held: Held, expected: list[int]) -> None:
    desk, push = unanswered()
    if kind == "refused":
        desk.refused(push, held)
    else:
        desk.told("k", held)
    wanted = [again.want for again in desk.pushes()]
    assert wanted == [entry(sessionId="s", compactionCount=number, by=6) for number in expected]


def test_another_gateways_very_same_change_is_counted_beside_ours() -> None:
    desk, placement = begun({"k": Held(1, COUNTED[5])})
    desk.read(placement.marker, {"k": COUNTED[6]})
    [push] = desk.pushes()
    desk.refused(push, Held(2, COUNTED[6]))
    [again] = desk.pushes()
    assert again.want == entry(sessionId="s", compactionCount=7, by=6)


def test_an_answer_that_comes_too_late_is_ignored() -> None:
    desk, push = unanswered()
    desk.told("k", Held(2, COUNTED[6]))
    assert desk.pushes() == []
    desk.refused(push, Held(2, COUNTED[6]))
    assert desk.pushes() == []


# -- a bridge that starts again -----------------------------------------------------------------


def test_the_next_desk_goes_on_where_this_one_was() -> None:
    desk, push = unanswered()
    desk.read("b.1.1", {"k": COUNTED[6], "n": A})
    after = Desk("b.2", desk.state())
    after.told("k", Held(2, COUNTED[6]))
    after.read("b.1.1", {"k": COUNTED[6], "n": A})
    assert after.pushes() == [Push("n", None, A, A, 0)]
    again = Desk("b.3", desk.state())
    again.told("k", Held(1, COUNTED[5]))
    again.read("b.1.1", {"k": COUNTED[6], "n": A})
    assert again.pushes() == [push, Push("n", None, A, A, 0)]


def test_a_session_of_the_sheet_that_the_snapshot_does_not_have_is_asked_for() -> None:
    desk, placement = begun({"gone": Held(1, A), "lost": Held(1, A)})
    after = Desk("b.2", desk.state())
    after.read(placement.marker, {"gone": A, "lost": A})
    assert after.unknown() == ["gone", "lost"]
    assert (after.pushes(), after.placement()) == ([], None)
    after.told("gone", Held(2, None))
    after.told("lost", Held(0, None))
    assert after.pushes() == [Push("lost", None, A, A, 0)]
    assert after.placement() == Placement("b.2.1", {"lost": A})


def test_an_ancestor_may_be_named_before_its_sheet_is_known_to_be_in_place() -> None:
    desk = Desk("b.1")
    desk.told("k", Held(1, A))
    placement = desk.placement()
    assert placement is not None
    after = Desk("b.2", desk.state())
    after.told("k", Held(1, A))
    after.read(placement.marker, {})
    assert after.pushes() == [Push("k", A, None, None, 1)]


def test_a_placement_that_never_was_in_place_is_forgotten() -> None:
    desk, _ = begun({})
    desk.told("k", Held(1, A))
    placement = desk.placement()
    assert placement is not None
    assert placement.marker in desk.state()
    desk.withdrawn(placement)
    assert placement.marker not in desk.state()


def test_of_ancestors_as_many_are_kept_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "KEPT_ENTRIES", 40)
    desk, first = begun({"k": Held(1, A), "l": Held(1, A)})
    desk.read(first.marker, {"k": A, "l": A})
    for _ in range(100):
        assert desk.placement(refresh=True) is not None
    kept = [name for name in desk.state() if name.startswith("b.")]
    assert kept == [first.marker, *(f"b.1.{number}" for number in range(83, 102))]


# -- a store that goes back ---------------------------------------------------------------------


def test_what_a_store_lost_is_brought_back_before_what_was_done_since() -> None:
    desk, placement = begun({"k": Held(3, COUNTED[6])})
    desk.read(placement.marker, {"k": COUNTED[7]})
    desk.lost("k", Held(2, COUNTED[5]))
    [push] = desk.pushes()
    assert push == Push("k", COUNTED[5], COUNTED[6], COUNTED[6], 2)
    desk.pushed(push, Held(3, COUNTED[6]))
    assert desk.pushes() == [Push("k", COUNTED[6], COUNTED[7], COUNTED[7], 3)]


def test_what_others_brought_back_already_is_not_counted_again() -> None:
    desk, _ = begun({"k": Held(3, COUNTED[7])})
    desk.lost("k", Held(1, COUNTED[5]))
    [push] = desk.pushes()
    desk.refused(push, Held(2, COUNTED[6]))
    [again] = desk.pushes()
    assert again.want == COUNTED[7]


def test_until_it_is_brought_back_the_sheet_stays_as_it_is() -> None:
    desk, _ = begun({"k": Held(3, B)})
    desk.lost("k", Held(0, None))
    assert desk.placement() is None
    assert desk.pushes() == [Push("k", None, B, B, 0)]


@pytest.mark.parametrize(
    ("back", "expected"),
    [
        pytest.param(Held(1, A), [Push("k", A, None, None, 1)], id="as the sheets knew it"),
        pytest.param(Held(1, C), [], id="changed since"),
    ],
)
def test_a_deletion_that_a_store_lost_is_repeated(back: Held, expected: list[Push]) -> None:
    desk, _ = begun({"k": Held(1, A)})
    desk.told("k", Held(2, None))
    desk.lost("k", back)
    assert desk.pushes() == expected


def test_what_was_confirmed_before_a_restart_is_brought_back_after_it() -> None:
    desk, placement = begun({"k": Held(1, A)})
    desk.read(placement.marker, {"k": B})
    [push] = desk.pushes()
    desk.pushed(push, Held(2, B))
    after = Desk("b.2", desk.state())
    after.told("k", Held(1, A))
    after.read(placement.marker, {"k": B})
    assert after.pushes() == [Push("k", None, B, B, 1)]
    assert after.placement() is None


def test_what_has_to_be_brought_back_is_known_after_a_restart() -> None:
    desk, placement = begun({"k": Held(3, B)})
    desk.lost("k", Held(2, A))
    after = Desk("b.2", desk.state())
    after.told("k", Held(2, A))
    after.read(placement.marker, {"k": B})
    assert after.pushes() == [Push("k", A, B, B, 2)]


def test_a_push_that_was_not_answered_by_a_store_that_lost_what_it_was_based_on_is_made_anew() -> None:
    desk, push = unanswered()
    desk.read("b.1.1", {"k": COUNTED[6]})
    after = Desk("b.2", desk.state())
    after.read("b.1.1", {"k": COUNTED[6]})
    after.told("k", Held(0, None))
    [first] = after.pushes()
    assert (first.want, first.expected) == (COUNTED[5], 0)
    after.pushed(first, Held(1, COUNTED[5]))
    [second] = after.pushes()
    assert (second.want, second.expected) == (COUNTED[6], 1)
    assert push.expected == 1


def test_a_push_is_not_repeated_over_what_brought_a_store_back_to_its_revision() -> None:
    desk, _ = unanswered()
    after = Desk("b.2", desk.state())
    after.told("k", Held(0, None))
    after.read("b.1.1", {"k": COUNTED[6]})
    others = entry(sessionId="s", compactionCount=5, by=5, another=1)
    after.told("k", Held(1, others))
    assert [push.want for push in after.pushes()] == [entry(sessionId="s", compactionCount=6, by=6, another=1)]


def test_what_another_bridge_gave_a_store_again_is_no_deletion_to_repeat() -> None:
    desk, _ = begun({"k": Held(4, A)})
    desk.lost("k", Held(1, A))
    assert (desk.pushes(), desk.placement()) == ([], None)


def test_a_sheet_without_a_marker_is_given_one() -> None:
    desk, _ = begun({"k": Held(1, A)})
    desk.read(None, {"k": A})
    assert desk.placement() == Placement("b.1.2", {"k": A})


def test_what_an_old_sheet_has_as_it_was_does_not_come_back() -> None:
    old, new = entry(sessionId="s", updatedAt=1, gone=1), entry(sessionId="s", updatedAt=2)
    desk, _ = begun({"k": Held(1, old)})
    desk.told("k", Held(2, new))
    desk.read(None, {"k": old})
    assert desk.pushes() == []


def test_what_was_changed_and_put_back_is_no_change() -> None:
    desk, placement = begun({"k": Held(1, A)})
    desk.read(placement.marker, {"k": B})
    desk.read(placement.marker, {"k": A})
    desk.told("k", Held(2, None))
    assert (desk.pushes(), desk.placement()) == ([], Placement("b.1.2", {}))


def test_what_was_pushed_before_a_restart_and_deleted_since_is_asked_for() -> None:
    desk, placement = begun({"k": Held(1, A)})
    desk.read(placement.marker, {"k": B, "n": A})
    assert len(desk.pushes()) == 2
    after = Desk("b.2", desk.state())
    after.gone()
    assert (sorted(after.unknown()), after.pushes()) == (["k", "n"], [])
    after.told("k", Held(3, None))
    after.told("n", Held(2, None))
    assert after.pushes() == []


def test_an_answer_from_before_a_store_went_back_is_ignored() -> None:
    desk, push = unanswered()
    desk.lost("k", Held(0, None))
    desk.pushed(push, Held(2, COUNTED[6]))
    assert [(again.want, again.expected) for again in desk.pushes()] == [(COUNTED[5], 0)]
