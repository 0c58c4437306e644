"""What is set aside is kept under names that its content makes, in documents that a store can hold."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sessionstore.migrate import folder, kept
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.folder import Folder
from sessionstore.migrate.items import SourceArchive, SourceSession
from sessionstore.migrate.keeper import Keeper, check_source_name
from sessionstore.migrate.pages import Pages
from sessionstore.openclaw.blob import Held
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.transcript import Batch, Line
from sessionstore.sessions import SessionKey
from sessionstore.sessions.exceptions import Conflict
from sessionstore.sessions.file import FileStore
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.record import Entry, Marks, Status, Transcript
from sessionstore.sessions.store import Key

PROBLEM = Problem("agents/main/sessions/sessions.json", Reason.INVALID_JSON, "no JSON", "main", "ключ")
KEY = SessionKey("main", "k")
ENTRY = Entry(b'{"sessionId":\n"a"}')


@dataclass(frozen=True)
class Lines:
    """A transcript of two lines and a torn one."""

    path: str = "a.jsonl"
    stamp: str | None = None

    def few(self) -> None:
        return None

    async def batches(self) -> AsyncIterator[Batch]:
        yield Batch([b"one"])
        yield Batch([b"two"], 4, Line(b'{"', 8, torn=True))


@dataclass(frozen=True)
class Zeros:
    """More bytes than a test could hold."""

    size: int

    def chunks(self) -> Iterator[bytes]:
        for _ in range(self.size // 65536):
            yield bytes(65536)


async def read(store: MemoryStore, name: str) -> tuple[dict[str, Any], bytes]:
    """Return the header and the bytes of what is kept."""
    line, raw = (await store.get_document(name) or b"").split(b"\n", 1)
    header: dict[str, Any] = json.loads(line)
    for number in range(1, header["parts"]):
        raw += await store.get_document(f"{name}/{number}") or b"missing"
    assert name.rpartition("/")[2] == hashlib.sha256(line).hexdigest()[:16]
    assert (header.pop("bytes"), header.pop("sha256")) == (len(raw), hashlib.sha256(raw).hexdigest())
    return header, raw


@pytest.mark.parametrize("name", ["a", "old-home", "A.b_c-1", "x" * 63])
def test_a_name_that_fits_into_a_document_name_is_taken(name: str) -> None:
    assert check_source_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a/b", "..", "x" * 64, "a b"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1-63 characters"):
        check_source_name(name)


async def test_the_same_bytes_are_kept_once() -> None:
    store = MemoryStore()
    names = {await Keeper(store, "s").keep_problem(PROBLEM, Held(b"raw")) for _ in range(2)}

    assert names == {name async for name in store.list_documents()}
    header, raw = await read(store, names.pop())
    assert raw == b"raw"
    assert header == {
        "kind": "entry", "path": PROBLEM.path, "agent": "main", "key": "ключ", "reason": "InvalidJSON",
        "detail": "no JSON", "parts": 1,
    }  # fmt: skip


async def test_other_bytes_are_kept_beside() -> None:
    store = MemoryStore()
    assert len({await Keeper(store, "s").keep_problem(PROBLEM, Held(raw)) for raw in (b"raw", b"other")}) == 2


@pytest.mark.parametrize("size", [0, 9, 10, 11, 30, 31, 99, 110])
async def test_what_is_too_long_goes_on_in_parts(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FIRST_BYTES", 10)
    monkeypatch.setattr(kept, "PART_BYTES", 20)
    store, raw = MemoryStore(), bytes(range(size))

    name = await Keeper(store, "s").keep_problem(PROBLEM, Held(raw))

    assert (await read(store, name))[1] == raw
    assert len([name async for name in store.list_documents()]) == kept.part_count(size)


async def test_what_is_large_is_kept_in_parts_of_a_few_mebibytes() -> None:
    store = MemoryStore()

    name = await Keeper(store, "s").keep_problem(PROBLEM, Zeros(20 * 1024 * 1024))

    assert (await read(store, name))[0]["parts"] == 6
    assert max([len(await store.get_document(part) or b"") async for part in store.list_documents()]) == 4 << 20


@dataclass(frozen=True)
class Growing:
    """Bytes that someone writes to between two looks."""

    sizes: list[int]
    size: int = 0

    def chunks(self) -> Iterator[bytes]:
        self.sizes.append(len(self.sizes))
        yield from (bytes(1024 * 1024) for _ in range(20))
        yield bytes(len(self.sizes))


async def test_what_changes_while_it_is_kept_is_told_and_leaves_nothing_half() -> None:
    store = MemoryStore()
    with pytest.raises(MigrationError, match="ключ changed while it was kept") as caught:
        await Keeper(store, "s").keep_problem(PROBLEM, Growing([]))

    assert caught.value.reason == "SourceChanged"
    assert [name async for name in store.list_documents()] == []


class Cut:
    """Bytes of which only the beginning can be read."""

    size = 10

    def chunks(self) -> Iterator[bytes]:
        yield b"begin"
        raise Refused(Reason.UNREADABLE, "the file is gone")


async def test_what_can_be_read_is_kept_and_the_rest_is_told() -> None:
    store = MemoryStore()
    header, raw = await read(store, await Keeper(store, "s").keep_problem(PROBLEM, Cut()))
    assert (raw, header["cut"]) == (b"begin", "the file is gone")


async def test_a_session_says_where_its_lines_begin_and_what_a_store_knew_of_it() -> None:
    store = MemoryStore()
    session = SourceSession(KEY, ENTRY, Lines(), status=Status.ARCHIVED, marks=Marks(title="t", pinned=True))

    header, raw = await read(store, await Keeper(store, "s").keep_session(session))
    assert raw[: header["entryBytes"]] == ENTRY.raw
    assert raw[header["entryBytes"] :] == b"\none\ntwo\n"
    assert (header["side"], header["kind"], header["status"]) == ("source", "session", "archived")
    assert header["marks"] == {"title": "t", "tags": [], "pinned": True, "reason": None}

    header, raw = await read(store, await Keeper(store, "s").keep_refused(session, PROBLEM))
    assert (raw[header["entryBytes"] :], header["reason"]) == (b'\none\ntwo\n{"', "InvalidJSON")


async def test_an_archive_is_kept_under_its_name() -> None:
    store, archive = MemoryStore(), SourceArchive("main", "x.jsonl", Lines())
    header, raw = await read(store, await Keeper(store, "s").keep_archive(archive))
    assert (header, raw) == (
        {"side": "source", "kind": "archive", "agent": "main", "archive": "x.jsonl", "parts": 1},
        b"one\ntwo\n",
    )
    header, raw = await read(store, await Keeper(store, "s").keep_refused(archive, PROBLEM))
    assert (header["archive"], header["kind"], raw) == ("x.jsonl", "archive", b'one\ntwo\n{"')


class Used(MemoryStore):
    """A store in which a gateway adds a line whenever the last one was read."""

    async def read(
        self, key: Key, start: int = 0, stop: int | None = None, *, reverse: bool = False
    ) -> Transcript | None:
        found = await super().read(key, start, stop, reverse=reverse)
        if found and len(found.lines) < (stop or 0) - start:
            await self.append(key, [b"more"])
        return found


async def test_the_stores_side_that_changes_meanwhile_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PART_BYTES", 20)
    store = Used()
    session = await store.set(KEY, ENTRY)
    await store.append(KEY, [b"a long enough line"])
    with pytest.raises(Conflict, match="main/k changed while it was kept"):
        await Keeper(store, "s").keep_stored(session)
    assert [name async for name in store.list_documents()] == []


# -- a directory ----------------------------------------------------------------------------------


async def test_on_request_it_is_kept_in_a_directory_too(tmp_path: Path) -> None:
    store, root = MemoryStore(), tmp_path / "set" / "aside"
    problem = Problem("p", Reason.INVALID_KEY, "no key", "..", "../../etc/пароль/x y")
    keeper = Keeper(store, "s", Folder(root, "s"))

    for _ in range(2):
        id = (await keeper.keep_problem(problem, Held(b"raw"))).rpartition("/")[2]

    assert await store.get_document(f"migration/s/quarantine/{id}")
    stem = root / "s" / "quarantine" / f"etc-x-y.{id}"
    assert sorted(path for path in root.rglob("*") if path.is_file()) == [
        stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.raw"),
    ]  # fmt: skip
    assert stem.with_name(f"{stem.name}.raw").read_bytes() == b"raw"
    assert json.loads(stem.with_name(f"{stem.name}.json").read_bytes())["key"] == problem.key
    modes = {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert modes == {0o700, 0o600}


async def test_other_peoples_files_are_left_alone(tmp_path: Path) -> None:
    keeper = Keeper(FileStore(tmp_path / "store"), "s", Folder(tmp_path, "s"))
    first = Path(await keeper.keep_problem(PROBLEM, Held(b"raw")))
    first.write_bytes(b"someone's")

    second = Path(await keeper.keep_problem(PROBLEM, Held(b"raw")))
    assert (first.read_bytes(), second.read_bytes()) == (b"someone's", b"raw")
    second.unlink()
    second.symlink_to(tmp_path / "elsewhere")
    third = Path(await keeper.keep_problem(PROBLEM, Held(b"raw")))
    assert third not in (first, second)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(folder.os, "link", refuse)
    keeper = Keeper(FileStore(tmp_path / "store"), "s", Folder(tmp_path, "s"))
    names = [await keeper.keep_problem(PROBLEM, Held(b"raw")) for _ in range(2)]
    assert names[0] == names[1]
    assert Path(names[0]).read_bytes() == b"raw"


async def test_a_full_disk_is_told_and_leaves_nothing_half(tmp_path: Path) -> None:
    keeper = Keeper(MemoryStore(), "s", Folder(Path("/dev/full"), "s"))
    with pytest.raises(MigrationError, match="cannot be kept there; make room, or name another") as caught:
        await keeper.keep_problem(PROBLEM, Held(b"raw"))
    assert caught.value.reason == "CannotKeep"

    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "quarantine").symlink_to("/proc")
    with pytest.raises(MigrationError, match=r"quarantine.*cannot be kept there"):
        await Keeper(MemoryStore(), "s", Folder(tmp_path, "s")).keep_problem(PROBLEM, Held(b"raw"))


async def test_a_store_without_documents_keeps_in_the_directory_or_not_at_all(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    assert not Keeper(store, "s").can_keep
    assert await Keeper(store, "s").keep_problem(PROBLEM, Held(b"raw")) == ""

    keeper = Keeper(store, "s", Folder(tmp_path / "kept", "s"))
    session = await store.set(KEY, ENTRY)
    assert keeper.can_keep
    assert Path(await keeper.keep_stored(session)).read_bytes() == session.entry.raw + b"\n"
    with pytest.raises(MigrationError, match="--quarantine-dir"):
        await Keeper(store, "s").keep_stored(session)


# -- rows -----------------------------------------------------------------------------------------


async def rows(store: MemoryStore, name: str) -> list[list[dict[str, Any]]]:
    pages = sorted([page async for page in store.list_documents(f"migration/s/{name}/")], key=lambda page: len(page))
    return [[json.loads(line) for line in (await store.get_document(page) or b"").splitlines()] for page in pages]


async def test_rows_lie_in_pages_and_those_of_an_earlier_run_are_gone() -> None:
    store = MemoryStore()
    for count in (2500, 3, 0):
        pages = Pages(Keeper(store, "s"), "plan")
        await pages.begin()
        for number in range(count):
            await pages.add({"key": number})
        await pages.end()

        found = await rows(store, "plan")
        assert [row["key"] for page in found for row in page] == list(range(count))
        assert all(len(page) <= 1000 for page in found)


async def test_long_rows_make_more_pages() -> None:
    store = MemoryStore()
    pages = Pages(Keeper(store, "s"), "problems")
    for _ in range(10):
        await pages.add({"detail": "x" * 300_000})
    await pages.end()
    assert [len(page) for page in await rows(store, "problems")] == [3, 3, 3, 1]
