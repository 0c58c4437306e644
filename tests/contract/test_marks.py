"""What people set on a session beside its entry: title, tags, pin, archive and restore."""

from __future__ import annotations

import pytest

from sessionstore.sessions import Conflict, InvalidEntry, Marks, Session, Status, Store, iterate
from sessionstore.sessions.record import MAX_TAGS, MAX_TEXT_BYTES


async def made(store: Store, key: str = "k") -> Session:
    return await store.set(key, {"sessionId": "s", "updatedAt": 1000})


async def test_a_new_session_has_no_marks(store: Store) -> None:
    assert (await made(store)).marks == Marks()
    assert (await store.get("k")).marks == Marks()


async def test_marks_are_kept_and_shown_in_the_list(store: Store) -> None:
    await made(store)
    await store.title("k", "Über 🦞")
    await store.tag("k", add=["b", "a"])
    last = await store.pin("k")
    assert last.marks == Marks("Über 🦞", ("a", "b"), True, None)
    assert await store.get("k") == last
    (row,) = (await store.list()).items
    assert (row.title, row.tags, row.pinned, row.revision) == ("Über 🦞", ("a", "b"), True, last.revision)


async def test_each_mark_is_a_revision_and_moves_no_conversation(store: Store) -> None:
    first = await made(store)
    for number, change in enumerate([store.title("k", "t"), store.tag("k", add=["a"]), store.pin("k")], start=2):
        now = await change
        assert (now.revision, now.updated_ms, now.entry) == (number, first.updated_ms, first.entry)


async def test_a_mark_that_is_there_already_changes_nothing(store: Store) -> None:
    await made(store)
    await store.title("k", "t")
    await store.tag("k", add=["a"])
    await store.pin("k")
    before = await store.archive("k", reason="old")
    for change in (
        store.title("k", "t"),
        store.tag("k", add=["a"], remove=["b"]),
        store.pin("k"),
        store.archive("k", reason="old"),
        store.archive("k"),
    ):
        assert await change == before
    assert await store.get("k") == before


async def test_marks_are_taken_away(store: Store) -> None:
    await made(store)
    await store.title("k", "t")
    await store.tag("k", add=["a", "b"])
    await store.pin("k")
    await store.title("k", None)
    await store.tag("k", remove=["a", "b"])
    assert (await store.pin("k", False)).marks == Marks()


async def test_tags_are_added_and_removed_at_once(store: Store) -> None:
    await made(store)
    await store.tag("k", add=["a", "b"])
    assert (await store.tag("k", add=["c"], remove=["a"])).marks.tags == ("b", "c")


async def test_a_title_of_the_entry_shows_where_none_is_set(store: Store) -> None:
    await store.set("k", {"sessionId": "s", "label": "TG Alice"})
    assert (await store.list()).items[0].title == "TG Alice"
    await store.title("k", "mine")
    assert (await store.list()).items[0].title == "mine"
    await store.title("k", None)
    assert (await store.list()).items[0].title == "TG Alice"


async def test_a_write_keeps_the_marks(store: Store) -> None:
    await made(store)
    await store.tag("k", add=["a"])
    await store.archive("k", reason="old")
    again = await store.set("k", {"sessionId": "s", "n": 2})
    assert (again.marks, again.status) == (Marks(None, ("a",), False, "old"), Status.ARCHIVED)


async def test_a_deleted_session_comes_back_without_marks(store: Store) -> None:
    await made(store)
    await store.tag("k", add=["a"])
    await store.archive("k")
    await store.delete("k")
    again = await made(store)
    assert (again.marks, again.status) == (Marks(), Status.ACTIVE)


async def test_an_archived_session_leaves_the_active_list_and_keeps_its_transcript(store: Store) -> None:
    await made(store)
    await made(store, "other")
    await store.append("k", [b"1", b"2"])
    archived = await store.archive("k", reason="inactive for 30 days")
    assert (archived.status, archived.marks.reason) == (Status.ARCHIVED, "inactive for 30 days")
    assert [row.key.key for row in (await store.list()).items] == ["other"]
    assert [row.key.key for row in (await store.list(status=Status.ARCHIVED)).items] == ["k"]
    assert sorted([row.key.key async for row in iterate(store)]) == ["k", "other"]
    assert (await store.read("k")).lines == (b"1", b"2")
    assert await store.get("k") == archived
    assert await store.exists("k")


async def test_a_restored_session_is_active_again_and_has_no_reason(store: Store) -> None:
    await made(store)
    await store.archive("k", reason="old")
    restored = await store.restore("k")
    assert (restored.status, restored.marks.reason) == (Status.ACTIVE, None)
    assert [row.key.key for row in (await store.list()).items] == ["k"]
    assert (await store.list(status=Status.ARCHIVED)).items == ()
    assert (await store.restore("k")) == restored


async def test_an_archived_session_can_be_appended_to_and_stays_archived(store: Store) -> None:
    await made(store)
    await store.archive("k")
    assert (await store.append("k", [b"x"])).lines == 1
    assert (await store.list()).items == ()
    assert (await store.list(status=Status.ARCHIVED)).items[0].lines == 1


async def test_archive_and_restore_compare(store: Store) -> None:
    current = await made(store)
    with pytest.raises(Conflict) as caught:
        await store.archive("k", expected=7)
    assert caught.value.current == current
    archived = await store.archive("k", expected=current.revision)
    with pytest.raises(Conflict):
        await store.restore("k", expected=current.revision)
    assert (await store.restore("k", expected=archived.revision)).status is Status.ACTIVE


async def test_a_title_compares(store: Store) -> None:
    current = await made(store)
    with pytest.raises(Conflict) as caught:
        await store.title("k", "t", expected=7)
    assert caught.value.current == current
    assert (await store.title("k", "t", expected=current.revision)).marks.title == "t"


async def test_an_absent_session_is_none_for_all(store: Store) -> None:
    assert await store.archive("k") is None
    assert await store.restore("k") is None
    assert await store.pin("k") is None
    assert await store.tag("k", add=["a"]) is None
    assert await store.title("k", "t") is None
    assert await store.touch("k") is False
    assert not await store.exists("k")
    with pytest.raises(Conflict):
        await store.archive("k", expected=1)


@pytest.mark.parametrize("text", ["", "a\nb", "x" * (MAX_TEXT_BYTES + 1), "\ud800"])
async def test_a_tag_that_cannot_be_kept_is_refused(store: Store, text: str) -> None:
    before = await made(store)
    with pytest.raises(InvalidEntry, match="tag"):
        await store.tag("k", add=[text])
    assert await store.get("k") == before


@pytest.mark.parametrize("text", ["a\x00b", "x" * (MAX_TEXT_BYTES + 1), "\udfff"])
async def test_a_title_or_a_reason_that_cannot_be_kept_is_refused(store: Store, text: str) -> None:
    before = await made(store)
    with pytest.raises(InvalidEntry, match="title"):
        await store.title("k", text)
    with pytest.raises(InvalidEntry, match="reason"):
        await store.archive("k", reason=text)
    assert await store.get("k") == before


async def test_there_are_as_many_tags_as_are_allowed_and_no_more(store: Store) -> None:
    await made(store)
    full = await store.tag("k", add=[f"t{number:02}" for number in range(MAX_TAGS)])
    with pytest.raises(InvalidEntry, match=str(MAX_TAGS + 1)):
        await store.tag("k", add=["one more"])
    assert await store.get("k") == full
    assert "one more" in (await store.tag("k", add=["one more"], remove=["t00"])).marks.tags


async def test_counts_and_stats_follow(store: Store) -> None:
    for key in ("a", "b", "c"):
        await made(store, key)
    await store.archive("b")
    await store.delete("c")
    stats = await store.stats()
    assert (stats.active, stats.archived, stats.expired) == (1, 1, 0)
    assert (await store.count(), await store.count(status=Status.ARCHIVED), await store.count(status=None)) == (1, 1, 2)
    assert (await store.count(agent="main"), await store.count(agent="other")) == (1, 0)
