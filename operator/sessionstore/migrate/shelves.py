"""Reads what migrations kept in a store, and drops it: the other side of `keeper.py`.

Documents can be lost, half written or edited by hand. What is not as it was kept is told, and never shown as whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from sessionstore.migrate import kept
from sessionstore.migrate.keeper import ROOT, document_name
from sessionstore.migrate.kept import Shelf
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.store import Store

AT_ONCE = 64
"""Headers that are read at once, each with up to 64 KiB of bytes behind it."""
DOCUMENTS = ("progress", "report")
ROWS = ("plan", "problems")
LEDGER = "ledger"
_CHANGED = "its bytes were changed since they were kept"
_FOLDERS = (*ROWS, LEDGER, *Shelf)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one thing lies.

    Attributes:
        parts: which documents there are of it, by number; 0 is the one with the header.
    """

    source_name: str
    shelf: Shelf
    id: str
    parts: frozenset[int] = frozenset((0,))

    def document(self, number: int = 0) -> str:
        """Return the name of one of its documents."""
        rest = f"{self.shelf}/{self.id}"
        return document_name(self.source_name, f"{rest}/{number}" if number else rest)


@dataclass(frozen=True, slots=True)
class Found:
    """A thing that was looked at.

    Attributes:
        header: what it says of itself; empty where that cannot be read.
        first: the bytes behind the header.
        flaw: why it cannot be used; None where nothing is wrong as far as was looked.
    """

    place: Place
    header: Mapping[str, Any]
    first: bytes = b""
    flaw: str | None = None

    def text(self, name: str) -> str | None:
        """Return a member of the header that is text, and None for any other."""
        value = self.header.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        """Return a member of the header that is a whole number from 0, and None for any other."""
        value = self.header.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


async def source_names(store: Store) -> list[str]:
    """Return the names of all sources of which the store has anything, sorted."""
    found = set()
    async for name in store.list_documents(f"{ROOT}/"):
        source_name, _, rest = name.removeprefix(f"{ROOT}/").partition("/")
        if rest in DOCUMENTS or rest.partition("/")[0] in _FOLDERS:
            found.add(source_name)
    return sorted(found)


async def places(store: Store, source_name: str, shelf: Shelf) -> list[Place]:
    """Return where everything on a shelf lies, sorted by id; only names are held."""
    prefix = document_name(source_name, f"{shelf}/")
    heads: list[str] = []
    parts: dict[str, set[int]] = defaultdict(set)
    async for name in store.list_documents(prefix):
        id, _, number = name.removeprefix(prefix).partition("/")
        if not number:
            heads.append(id)
        elif number.isdecimal():
            parts[id].add(int(number))
    whole = {id: Place(source_name, shelf, id, frozenset((0, *parts.pop(id, ())))) for id in heads}
    left = {id: Place(source_name, shelf, id, frozenset(numbers)) for id, numbers in parts.items()}
    return sorted((whole | left).values(), key=lambda place: place.id)


async def look(store: Store, wanted: Iterable[Place]) -> AsyncIterator[Found]:
    """Look at the headers of many things; those that are gone meanwhile are left out. Raises: Unavailable."""
    left = iter(wanted)
    while group := list(islice(left, AT_ONCE)):
        for found in await asyncio.gather(*(look_at(store, place) for place in group)):
            if found is not None:
                yield found


async def look_at(store: Store, place: Place) -> Found | None:
    """Look at the header of one thing; None where it is gone."""
    if 0 not in place.parts:
        return Found(place, {}, flaw="its header is missing: it was never written to its end, or not dropped to it")
    try:
        document = await store.get_document(place.document())
    except Unreadable as error:
        return Found(place, {}, flaw=str(error))
    if document is None:
        return None
    line, _, first = document.partition(b"\n")
    header = _header(line)
    found = Found(place, header, first)
    return replace(found, flaw=_flaw(found, line))


async def pieces(store: Store, found: Found) -> AsyncIterator[bytes]:
    """Go through the bytes of a thing. Raises: Unreadable where they are not what was kept, at their end at last."""
    if found.flaw:
        raise _damaged(found.place, found.flaw)
    seen = hashlib.sha256(found.first)
    yield found.first
    for number in range(1, found.header["parts"]):
        part = await store.get_document(found.place.document(number))
        if part is None:
            raise _damaged(found.place, _missing(number, found.header["parts"]))
        seen.update(part)
        yield part
    if seen.hexdigest() != found.header["sha256"]:
        raise _damaged(found.place, _CHANGED)


async def check(store: Store, found: Found) -> None:
    """Go through all of a thing, for nothing but to know that it is whole. Raises: Unreadable."""
    async for _ in pieces(store, found):
        pass


async def drop(store: Store, place: Place) -> bool:
    """Delete a thing; return whether there was one. The header goes first: what has one is whole."""
    dropped = await store.delete_document(place.document())
    for number in sorted(place.parts - {0}):
        dropped = await store.delete_document(place.document(number)) or dropped
    return dropped


def matching(wanted: str, all_places: Iterable[Place]) -> list[Place]:
    """Return the things whose ids begin with `wanted`; the one of just that id, where there is one."""
    begun = [place for place in all_places if place.id.startswith(wanted)]
    return [place for place in begun if place.id == wanted] or begun


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def _flaw(found: Found, line: bytes) -> str | None:
    place, count = found.place, found.number("parts")
    if not count or found.number("bytes") is None or found.text("sha256") is None:
        return "its header cannot be understood"
    if kept.id_of(line) != place.id:
        return "its header was changed since it was written"
    missing = next((number for number in range(count) if number not in place.parts), None)
    if missing is not None:
        return _missing(missing, count)
    return None if count > 1 or hashlib.sha256(found.first).hexdigest() == found.header["sha256"] else _CHANGED


def _missing(number: int, count: int) -> str:
    return f"part {number + 1} of {count} is missing"


def _damaged(place: Place, flaw: str) -> Unreadable:
    return Unreadable(f"{place.document()}: {flaw}; what there is of it is not shown as whole")
