"""What must hold for every broken directory. It knows the source by its bytes alone, and none of our readers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.report import Report
from sessionstore.openclaw.problems import Reason, SourceError
from sessionstore.sessions import SessionKey, Store, iterate
from sessionstore.sessions.memory import MemoryStore
from tests.fuzz import busy, carrying, opened
from tests.fuzz.mutants import Mutant
from tests.fuzz.site import CONFIGURATION, DATABASE, MAX_FILE_BYTES, Known, Site

_LINES_FILE = re.compile(r".+\.jsonl(\.(reset|deleted|bak)\.\d[\dTZ:.\-]*)?", re.DOTALL)
_NO_CONVERSATION = re.compile(
    r".+\.(trajectory\.jsonl.*|trajectory-path\.json|checkpoint\.[0-9a-f-]{36}\.jsonl|tmp|lock)", re.DOTALL
)
_CARRIED_AS_IT_IS = {Reason.INVALID_UTF8, Reason.NOT_JSON_LINE, Reason.TORN_LAST_LINE}
_ENDS = {"UnsupportedLayout"}
_ENDS_BUSY = {"UnsupportedLayout", "SourceChanged", "CountsDoNotAddUp"}
_WATCH = opened.Watch()


@dataclass(frozen=True)
class Held:
    """All that a store has."""

    sessions: Mapping[SessionKey, tuple[bytes, tuple[bytes, ...], int]]
    """Key -> entry, lines, revision."""
    archives: Mapping[tuple[str, str], tuple[bytes, ...]]
    documents: bytes

    def lines(self) -> Counter[bytes]:
        """Count all lines of all sessions and archives."""
        found: Counter[bytes] = Counter()
        for _, lines, _ in self.sessions.values():
            found.update(lines)
        for lines in self.archives.values():
            found.update(lines)
        return found


def check(mutant: Mutant) -> str:
    """Migrate a mutant, and return how it ended. Raises: AssertionError, and whatever is a crash."""
    return _check_busy(mutant) if mutant.is_busy else _check_still(mutant)


def _check_still(mutant: Mutant) -> str:
    root, store = mutant.site.root, MemoryStore()
    before, outside = fingerprint(root), _looks(mutant.site)
    try:
        with _WATCH.only(root):
            seen = carrying.inspect(root, MAX_FILE_BYTES)
            first = carrying.migrate(root, store, MAX_FILE_BYTES)
    except (SourceError, MigrationError) as error:
        assert _may_end(mutant, error), f"ended by {error.reason}: {error}"
        assert fingerprint(root) == before, "the source was changed"
        return error.reason
    held = asyncio.run(read(store))
    _check_report(first, seen)
    _check_sessions(mutant, first, held)
    _check_lines(mutant, first, held)
    assert carrying.verify(root, store, MAX_FILE_BYTES).outcome == "Verified", "verify finds differences"
    _check_second(carrying.migrate(root, store, MAX_FILE_BYTES), held, asyncio.run(read(store)))
    assert fingerprint(root) == before, "the source was changed"
    assert _looks(mutant.site) == outside, "what lies outside was looked at"
    assert b"canary" not in held.documents or _has_canary(mutant.site), "what lies outside was read"
    return "problems" if first.problems else "clean"


def _check_busy(mutant: Mutant) -> str:
    """While it is written to, a source may fail in a way that is known; afterwards it is carried."""
    root, store, outside = mutant.site.root, MemoryStore(), _looks(mutant.site)
    with busy.writing(mutant.site, random.Random(mutant.number)):
        for _ in range(3):
            try:
                carrying.migrate(root, store, MAX_FILE_BYTES)
            except (SourceError, MigrationError) as error:
                assert isinstance(error, SourceError) or error.reason in _ENDS_BUSY, f"{error.reason}: {error}"
    try:
        _check_accounts(carrying.migrate(root, store, MAX_FILE_BYTES))
        held = asyncio.run(read(store))
        _check_second(carrying.migrate(root, store, MAX_FILE_BYTES), held, asyncio.run(read(store)))
    except MigrationError as error:
        assert error.reason in _ENDS, f"{error.reason}: {error}"
    assert _looks(mutant.site) == outside, "what lies outside was looked at"
    return "busy"


def fingerprint(root: Path) -> Mapping[str, tuple[int, int, int, bytes | str]]:
    """Return path -> (mode, size, mtime, bytes or target) of everything; of what is very large, no bytes."""
    return {str(path): _print(path) for path in (root, *root.rglob("*"))}


async def read(store: Store) -> Held:
    """Read all that a store has."""
    sessions, archives = {}, {}
    documents: list[tuple[str, int, bytes]] = []
    async for info in iterate(store):
        session, transcript = await store.get(info.key), await store.read(info.key)
        assert session is not None and transcript is not None
        sessions[info.key] = session.entry.raw, tuple(transcript.lines), info.revision
    async for archive in store.list_archives():
        archives[archive.agent, archive.name] = tuple(await store.read_archive(archive.agent, archive.name) or ())
    async for name in store.list_documents("migration/fuzz/quarantine/"):
        identity, _, part = name.removeprefix("migration/fuzz/quarantine/").partition("/")
        documents.append((identity, int(part or 0), await store.get_document(name) or b""))
    # What is long is kept in parts, cut anywhere.
    pieces = (document if part else b"\n" + document for _, part, document in sorted(documents))
    return Held(sessions, archives, b"".join(pieces))


def _print(path: Path) -> tuple[int, int, int, bytes | str]:
    status = path.lstat()
    content: bytes | str = b""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)  # noqa: PTH115  names that are not UTF-8
    elif stat.S_ISREG(status.st_mode) and status.st_size <= 4 * MAX_FILE_BYTES:
        content = path.read_bytes()
    return status.st_mode, 0 if stat.S_ISDIR(status.st_mode) else status.st_size, status.st_mtime_ns, content


def _looks(site: Site) -> list[int]:
    """Return when each file outside was last looked at."""
    return [path.lstat().st_atime_ns for path in sorted((site.outside, *site.outside.rglob("*")))]


def _may_end(mutant: Mutant, error: SourceError | MigrationError) -> bool:
    """Tell whether a migration may give up: never for what one transcript, or one entry, is like."""
    folders = {Path(name).parent for name in mutant.site.lines_files}
    if all(Path(path).parent in folders and _LINES_FILE.fullmatch(path) for path in mutant.touch.paths):
        return False
    return isinstance(error, SourceError) or error.reason in _ENDS


def _check_report(first: Report, seen: Report) -> None:
    _check_accounts(first)
    document = first.document()
    assert document["digest"] == document["storeDigest"] == seen.document()["digest"]


def _check_accounts(report: Report) -> None:
    document = report.document()
    assert document["outcome"] == "Verified" and not document["mismatches"], document["mismatches"]
    for name, account in document["accounts"].items():
        assert account["found"] == sum(account.values()) - account["found"], name
    json.dumps(document, ensure_ascii=False).encode()


def _check_sessions(mutant: Mutant, report: Report, held: Held) -> None:
    texts = _texts(mutant.site.root)
    for known in mutant.site.sessions:
        found = held.sessions.get(known.key)
        if mutant.touch.spares(known):
            assert found is not None, f"{known.key} was not touched, and is not there"
            assert found[:2] == (known.raw, known.lines), f"{known.key} was not touched, and is another one"
        elif any(mutant.touch.has(name) for name in known.needed if name == CONFIGURATION):
            # It said where the sessions are, and nobody else does.
            continue
        elif found is None and not _is_told(known, report) and known.raw not in held.documents:
            is_carried = any(raw == known.raw for raw, _, _ in held.sessions.values())
            assert is_carried or not _is_somewhere(known.raw, texts, report), f"{known.key} is lost, and nobody says so"
    for key, (raw, _, _) in held.sessions.items():
        is_there = any(raw in text or text.startswith(DATABASE) for text in texts.values())
        assert is_there, f"{key} has an entry that no file has"


def _is_told(known: Known, report: Report) -> bool:
    paths = {*known.indexes, *known.needed, *((known.transcript,) if known.transcript else ())}
    told = {problem.path for problem in report.problems}
    # What is said of a part of a database is said of all of it.
    told |= {path.rpartition(":")[0] for path in told}
    return any(problem.key == known.key.key for problem in report.problems) or any(
        _is_below(path, told) for path in paths
    )


def _is_somewhere(raw: bytes, texts: Mapping[str, bytes], report: Report) -> bool:
    """Tell whether an entry lies in a file that a reader must know, and that is not named."""
    told = {problem.path for problem in report.problems}
    return any(
        raw in text and not _is_below(name, told) and not _NO_CONVERSATION.fullmatch(name)
        for name, text in texts.items()
    )


def _check_lines(mutant: Mutant, report: Report, held: Held) -> None:
    """Each line of each file of a conversation is in the store, as often as in the files, or the file is named."""
    told = {problem.path for problem in report.problems if problem.reason not in _CARRIED_AS_IT_IS}
    here: Counter[bytes] = Counter()
    for name, path in _conversations(mutant.site, is_lost=mutant.touch.has(CONFIGURATION)):
        if not _is_below(name, told):
            here.update(_split(path.read_bytes()))
    there = held.lines()
    is_doubled = any(".sqlite" in name for name in mutant.site.files)
    for line, count in here.items():
        # What was imported into a database lies beside it still, and is carried once.
        assert there[line] >= (1 if is_doubled else count) or line in held.documents, (
            f"a line is lost, and nobody says so: {line[:80]!r}"
        )


def _conversations(site: Site, *, is_lost: bool) -> Iterator[tuple[str, Path]]:
    """Go through the files of lines that a reader must know: those where the valid directory has some.

    `is_lost` says that nothing tells any more of those outside of `agents/`.
    """
    folders = {Path(name).parent for name in site.lines_files}
    for folder in sorted(folders):
        if is_lost and folder.parts[:1] != ("agents",):
            continue
        path = site.root / folder
        if any(part.is_symlink() for part in (path, *path.parents)) or not path.is_dir():
            continue
        for file in sorted(path.iterdir()):
            is_lines = _LINES_FILE.fullmatch(file.name) and not _NO_CONVERSATION.fullmatch(file.name)
            if is_lines and stat.S_ISREG(file.lstat().st_mode) and file.name != ".jsonl":
                yield _shown(file.relative_to(site.root)), file


def _split(raw: bytes) -> list[bytes]:
    lines = raw.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def _is_below(name: str, told: set[str]) -> bool:
    return any(name == path or name.startswith(f"{path}/") for path in told)


def _texts(root: Path) -> Mapping[str, bytes]:
    """Return path, as a report shows it -> bytes of each file that is not too large."""
    files = ((path, path.lstat()) for path in sorted(root.rglob("*")))
    return {
        _shown(path.relative_to(root)): path.read_bytes()
        for path, status in files
        if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE_BYTES
    }


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _has_canary(site: Site) -> bool:
    return any(b"canary" in text for text in _texts(site.root).values())


def _check_second(second: Report, before: Held, after: Held) -> None:
    assert second.accounts is not None
    for name in ("sessions", "lines", "archives"):
        account = getattr(second.accounts, name)
        assert account.migrated == 0, f"a second run changed {name}: {account}"
    assert after == before, "a second run changed the store"
