"""The file backend on OpenClaw's own layout: what it leaves alone, what it notices, what it does not follow."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from sessionstore.sessions import (
    Conflict,
    InvalidEntry,
    InvalidKey,
    Store,
    TranscriptHead,
    Unavailable,
    Unreadable,
    iterate,
    open_store,
)
from sessionstore.sessions.file.agent import AgentFiles
from sessionstore.sessions.file.store import FileStore
from tests.conftest import ROOT

FIXTURE = ROOT / "tests" / "fixtures" / "openclaw" / "file-2026.7.1-2.tar.gz"
MAIN, WORK = "agent:main:main", "agent:work:main"
WORK_ID = "5b5e1979-61f4-46b6-88a5-97938d77d5ae"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path / "state", filter="data")
    return tmp_path / "state"


@pytest.fixture
def sessions(state: Path) -> Path:
    return state / "agents" / "work" / "sessions"


@pytest.fixture
def store(state: Path) -> Store:
    return FileStore(state)


def contents(state: Path) -> dict[str, bytes]:
    """Return what OpenClaw wrote: path -> bytes, our own side files left out."""
    return {
        str(path.relative_to(state)): path.read_bytes()
        for path in state.rglob("*")
        if path.is_file() and not path.name.startswith(".sessionstore")
    }


async def test_openclaw_s_own_sessions_are_found(store: Store) -> None:
    rows = [info async for info in iterate(store)]
    archives = sorted([info.name.split(".jsonl.")[1].split(".")[0] async for info in store.list_archives()])
    assert (len(rows), sum(row.lines for row in rows)) == (11, 26)
    assert archives == ["bak", "deleted", "reset"]
    assert {row.key.agent for row in rows} == {"main", "work"}


async def test_reading_changes_nothing_of_openclaw_s(store: Store, state: Path) -> None:
    before = contents(state)
    for info in [info async for info in iterate(store)]:
        assert (await store.get(info.key)).revision == info.revision == 1
        assert len((await store.read(info.key)).lines) == info.lines
    assert contents(state) == before


async def test_what_tells_no_revision_writes_no_file_at_all(store: Store, state: Path) -> None:
    before = sorted(state.rglob("*"))
    await store.exists(MAIN)
    await store.get("nobody")
    await store.read("nobody")
    assert [info async for info in store.list_archives()]
    assert sorted(state.rglob("*")) == before


async def test_writing_and_deleting_a_session_leaves_every_other_byte(store: Store, state: Path) -> None:
    before = contents(state)
    await store.set("agent:main:new", {"updatedAt": 1})
    await store.delete("agent:main:new")
    assert contents(state) == before


async def test_an_entry_is_laid_out_as_json_stringify_does(store: Store, sessions: Path) -> None:
    fields = {"sessionId": "n", "deep": {"list": [1, {"x": None}], "empty": {}, "none": []}, "text": 'ü"\\\n\u2028'}
    await store.set("agent:work:ключ/+", fields)
    written = (sessions / "sessions.json").read_bytes()
    assert written == json.dumps(json.loads(written), indent=2, ensure_ascii=False).encode()
    assert json.loads(written)["agent:work:ключ/+"] == fields


async def test_the_last_session_leaves_an_empty_object(store: Store, sessions: Path) -> None:
    await store.delete(WORK)
    assert (sessions / "sessions.json").read_bytes() == b"{}"


async def test_an_entry_s_number_forms_and_its_neighbours_bytes_stay(store: Store, sessions: Path) -> None:
    file = sessions / "sessions.json"
    odd = file.read_bytes()[:-2] + b',\n  "odd": {"a":1e2,   "b":"\\u00e9"}\n}'
    file.write_bytes(odd)
    await store.set(WORK, b'{"n":1.50,"sessionId":"s"}')
    assert b'"odd": {"a":1e2,   "b":"\\u00e9"}' in file.read_bytes()
    assert b'"n": 1.50,' in file.read_bytes()


async def test_an_append_is_in_place_and_ends_each_line(store: Store, sessions: Path) -> None:
    file = sessions / f"{WORK_ID}.jsonl"
    inode, before = file.stat().st_ino, file.read_bytes()
    await store.append(WORK, [b"1", b"2"])
    assert (file.stat().st_ino, file.read_bytes()) == (inode, before + b"1\n2\n")


async def test_a_torn_last_line_is_read_as_it_is_and_nothing_is_glued_to_it(store: Store, sessions: Path) -> None:
    file = sessions / f"{WORK_ID}.jsonl"
    file.write_bytes(b'{"whole":1}\n{"torn":')
    head = (await store.get(WORK)).transcript
    assert (head.lines, (await store.read(WORK)).lines) == (2, (b'{"whole":1}', b'{"torn":'))
    await store.append(WORK, [b"new"], position=head.lines)
    assert file.read_bytes() == b'{"whole":1}\n{"torn":\nnew\n'
    assert (await store.get(WORK)).transcript.lines == 3


async def test_files_are_the_owner_s_alone(tmp_path: Path) -> None:
    async with open_store(f"file://{tmp_path}/new/state") as store:
        await store.set("k", {"sessionId": "s"})
        await store.append("k", [b"1"])
    made = [tmp_path / "new" / "state" / "agents", *(tmp_path / "new" / "state" / "agents").rglob("*")]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()}
    assert (modes, {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()}) == ({0o700}, {0o600})
    assert not list(tmp_path.rglob("*.tmp"))


async def test_what_openclaw_changes_is_one_more_revision_and_stops_a_late_writer(store: Store, sessions: Path) -> None:
    seen = await store.get(WORK)
    file = sessions / "sessions.json"
    file.write_text(file.read_text().replace('"updatedAt": 1795169237225', '"updatedAt": 1795169999999'))
    with pytest.raises(Conflict) as caught:
        await store.set(WORK, {}, expected=seen.revision)
    current = caught.value.current
    assert (current.revision, current.updated_ms, current.entry["updatedAt"]) == (2, 1795169999999, 1795169999999)
    assert await store.get(WORK) == current


async def test_two_changes_by_openclaw_never_pass_as_one_revision(store: Store, sessions: Path) -> None:
    file = sessions / "sessions.json"
    await store.get(WORK)
    file.write_text(file.read_text().replace("1795169237225", "1795169999998"))
    seen = await store.get(WORK)
    file.write_text(file.read_text().replace("1795169999998", "1795169999999"))
    with pytest.raises(Conflict):
        await store.set(WORK, {}, expected=seen.revision)


async def test_a_revision_that_was_listed_is_on_record(store: Store, sessions: Path) -> None:
    file = sessions / "sessions.json"
    (row,) = (await store.list(agent="work")).items
    file.write_text(file.read_text().replace("1795169237225", "1795169999998"))
    with pytest.raises(Conflict):
        await store.set(WORK, {}, expected=row.revision)


async def test_a_generation_that_was_read_is_on_record(store: Store, sessions: Path) -> None:
    await store.append(WORK, [b"1", b"2"])
    file = sessions / f"{WORK_ID}.jsonl"
    file.write_bytes(b"compacted once\n")
    head = (await store.read(WORK)).head
    file.write_bytes(b"once more\n")
    with pytest.raises(Conflict):
        await store.append(WORK, [b"ours"], position=head.lines, generation=head.generation)


async def test_lines_that_openclaw_appends_are_one_more_revision(store: Store, sessions: Path) -> None:
    before = await store.get(WORK)
    with (sessions / f"{WORK_ID}.jsonl").open("ab") as file:
        file.write(b"theirs\n")
    after = await store.get(WORK)
    assert (after.revision, after.transcript.lines, after.transcript.generation) == (2, 2, 0)
    with pytest.raises(Conflict):
        await store.append(WORK, [b"ours"], position=before.transcript.lines)


async def test_a_transcript_that_openclaw_cuts_is_another_generation(store: Store, sessions: Path) -> None:
    await store.append(WORK, [b"1", b"2"])
    (sessions / f"{WORK_ID}.jsonl").write_bytes(b"compacted\n")
    assert (await store.get(WORK)).transcript.generation == 1


async def test_a_transcript_that_openclaw_replaces_by_one_of_the_same_size_is_another_generation(
    store: Store, sessions: Path
) -> None:
    head, file = await store.append(WORK, [b"1"]), sessions / f"{WORK_ID}.jsonl"
    file.write_bytes(file.read_bytes()[:-2] + b"2\n")
    # Two writes within one tick of the file system's clock have one time; a real program is never that fast.
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    with pytest.raises(Conflict, match="generation 1"):
        await store.append(WORK, [b"ours"], position=head.lines, generation=head.generation)


async def test_a_transcript_that_openclaw_cuts_along_with_the_entry_is_another_generation(
    store: Store, sessions: Path
) -> None:
    await store.append(WORK, [b"1", b"2"])
    (sessions / f"{WORK_ID}.jsonl").write_bytes(b"compacted\n")
    file = sessions / "sessions.json"
    file.write_text(file.read_text().replace("1795169237225", "1795169999998"))
    assert (await store.get(WORK)).transcript.generation == 1


async def test_a_rewrite_that_is_cut_off_by_a_crash_is_another_generation(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    def crash(*_: object) -> None:
        raise Crash

    head = await store.append(WORK, [b"1"])
    with monkeypatch.context() as patch:
        patch.setattr(AgentFiles, "carried_out", crash)
        with pytest.raises(Crash):
            await store.rewrite(WORK, [b"a longer line than what was there before" * 50] * head.lines)
    with pytest.raises(Conflict, match="generation 1"):
        await store.append(WORK, [b"ours"], position=head.lines, generation=head.generation)


async def test_a_session_that_openclaw_deletes_leaves_a_tombstone(store: Store, sessions: Path) -> None:
    await store.append(WORK, [b"1"])
    (sessions / "sessions.json").write_text("{}")
    assert await store.get(WORK) is None
    assert (await store.set(WORK, {}, expected=0)).revision == 4


async def test_a_deleted_session_s_transcript_becomes_openclaw_s_own_archive(store: Store, sessions: Path) -> None:
    before = (sessions / f"{WORK_ID}.jsonl").read_bytes()
    await store.delete(WORK)
    (archive,) = [info async for info in store.list_archives(agent="work")]
    assert archive.name.startswith(f"{WORK_ID}.jsonl.deleted.20")
    assert (sessions / archive.name).read_bytes() == before


async def test_a_transcript_that_another_session_names_stays_when_one_is_deleted(store: Store, sessions: Path) -> None:
    await store.set("agent:work:twin", {"sessionId": WORK_ID})
    await store.delete(WORK)
    assert len((await store.read("agent:work:twin")).lines) == 1


BROKEN = [
    pytest.param(b'{"a": {', "cannot be read", id="torn"),
    pytest.param(b"[]", "cannot be read", id="an array"),
    pytest.param(b"", "cannot be read", id="empty"),
    pytest.param(b"\xff\xfe", "invalid UTF-8", id="no UTF-8"),
    pytest.param(b'{"a": {}, "a": {}}', "twice", id="a key twice"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
async def test_a_sessions_json_that_cannot_be_read_is_an_error_and_is_not_written_over(
    store: Store, sessions: Path, content: bytes, message: str
) -> None:
    (sessions / "sessions.json").write_bytes(content)
    for call in (store.get(WORK), store.set(WORK, {}), store.list(), store.append(WORK, [b"1"])):
        with pytest.raises(Unreadable, match=message):
            await call
    assert (sessions / "sessions.json").read_bytes() == content


@pytest.mark.parametrize("damage", [b'{"n": NaN}', b'{"a":1,"a":2}', b'{"sessionId":"../../up"}', b"7"])
async def test_one_damaged_entry_costs_itself_and_not_its_neighbours(
    store: Store, sessions: Path, damage: bytes
) -> None:
    file = sessions / "sessions.json"
    file.write_bytes(file.read_bytes()[:-2] + b',\n  "agent:work:bad": ' + damage + b"\n}")
    with pytest.raises(Unreadable, match="work/agent:work:bad"):
        await store.get("agent:work:bad")
    assert (await store.get(WORK)).entry.session_id == WORK_ID
    await store.set(WORK, {"sessionId": WORK_ID})
    assert await store.delete(WORK) is True
    assert b'"agent:work:bad": ' + damage + b"\n" in file.read_bytes()


async def test_damaged_revisions_are_an_error_that_says_what_to_do(store: Store, sessions: Path) -> None:
    (sessions / ".sessionstore-log").write_text('{"version":1,"sessions":{"k":[1]}}')
    with pytest.raises(Unreadable, match="move it away"):
        await store.get(WORK)


@pytest.mark.parametrize("name", ["sessions.json", f"{WORK_ID}.jsonl"])
async def test_links_are_not_followed(store: Store, sessions: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    (sessions / name).rename(outside)
    (sessions / name).symlink_to(outside)
    before = outside.read_bytes()
    for call in (store.get(WORK), store.append(WORK, [b"1"])):
        with pytest.raises(Unreadable, match="link"):
            await call
    assert outside.read_bytes() == before


async def test_a_link_in_place_of_the_directory_is_not_followed(store: Store, sessions: Path, tmp_path: Path) -> None:
    sessions.rename(tmp_path / "outside")
    sessions.symlink_to(tmp_path / "outside")
    with pytest.raises(Unreadable, match="link"):
        await store.set(WORK, {})


async def test_a_pipe_in_place_of_a_transcript_does_not_hang(store: Store, sessions: Path) -> None:
    (sessions / f"{WORK_ID}.jsonl").unlink()
    os.mkfifo(sessions / f"{WORK_ID}.jsonl")
    for call in (store.get(WORK), store.read(WORK), store.append(WORK, [b"1"])):
        with pytest.raises(Unreadable, match="plain file"):
            await call


async def test_a_file_in_place_of_the_state_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("x")
    store = FileStore(tmp_path / "state")
    for call in (store.get("k"), store.set("k", {}), store.list()):
        with pytest.raises((Unreadable, Unavailable), match="state"):
            await call


async def test_a_transcript_id_that_fits_no_file_name_is_refused(store: Store) -> None:
    with pytest.raises(InvalidEntry, match="file name"):
        await store.set("k", {"sessionId": "x" * 201})


async def test_an_archive_is_named_as_openclaw_names_them(store: Store) -> None:
    with pytest.raises(InvalidKey, match="OpenClaw"):
        await store.put_archive("main", "sessions.json", [b"1"])


async def test_lines_without_an_entry_are_a_new_session_s_where_they_begin_it(tmp_path: Path) -> None:
    """As a crash leaves them. Others are nobody's to write over."""
    sessions = tmp_path / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    for name, data in (("some", b"1\n2\n"), ("all", b"1\n2\n3"), ("other", b"1\nx\n"), ("more", b"1\n2\n3\n4\n")):
        sessions.joinpath(f"{name}.jsonl").write_bytes(data)
    store = FileStore(tmp_path)
    for name in ("some", "all"):
        made = await store.create(name, {"sessionId": name}, [b"1", b"2", b"3"])
        assert made.transcript == TranscriptHead(name, 0, 3)
        assert await store.get(name) == made
        assert (await store.read(name)).lines == (b"1", b"2", b"3")
    for name in ("other", "more"):
        before = sessions.joinpath(f"{name}.jsonl").read_bytes()
        with pytest.raises(Conflict, match=r"set.* takes them over") as caught:
            await store.create(name, {"sessionId": name}, [b"1", b"2", b"3"])
        assert caught.value.current is None
        assert (await store.get(name), sessions.joinpath(f"{name}.jsonl").read_bytes()) == (None, before)
