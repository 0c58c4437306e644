"""What a store does leaves no session's key and no content in the logs above debug."""

from __future__ import annotations

import contextlib
import logging

import pytest

from sessionstore.sessions import Capability, Entry, Lifetime, Query, SessionError, SessionKey, Store, follow, iterate
from tests.contract.test_lifetimes import gone, until

SECRET = "sEcReT"
KEY = SessionKey("main", f"agent:main:telegram:direct:{SECRET}")


async def test_nothing_secret_is_logged_above_debug(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await everything(store)
        await what_fails(store)
    found = [(record.name, record.msg) for record in caplog.records if SECRET in told(record)]
    assert found == []


def told(record: logging.LogRecord) -> str:
    """Return all that a formatter could print of a record."""
    return f"{record.getMessage()} {record.__dict__} {record.exc_info}"


async def everything(store: Store) -> None:
    """Do every operation once."""
    start = await store.position()
    await store.set(KEY, {"sessionId": SECRET, "label": SECRET, "senderId": SECRET, "updatedAt": 1})
    await store.append(KEY, [SECRET.encode()], position=0)
    await store.append(KEY, [SECRET.encode()], position=0)
    await store.rewrite(KEY, [SECRET.encode()] * 2)
    await store.read(KEY)
    await store.get_many([KEY])
    await store.title(KEY, SECRET)
    await store.tag(KEY, add=[SECRET])
    await store.pin(KEY)
    await store.archive(KEY, reason=SECRET)
    await store.restore(KEY)
    assert [info async for info in iterate(store)]
    await store.search(Query(sender=SECRET, title=SECRET))
    async with store.lease(KEY, holder=SECRET) as lease:
        await store.touch(KEY, lifetime=Lifetime(ttl_ms=600_000))
        await store.set(KEY, {"sessionId": SECRET}, fence=lease.token)
    async for batch in follow(store, start):
        assert batch.items
        break
    await store.put_archive("main", f"{SECRET}.jsonl.reset.1", [SECRET.encode()])
    assert [item async for item in store.list_archives()]
    if Capability.DOCUMENTS in store.capabilities:
        await store.put_document(SECRET, SECRET.encode())
        assert [item async for item in store.list_documents()]
    await store.pin(KEY, False)
    await store.touch(KEY, lifetime=Lifetime(ttl_ms=1, idle_ms=0))
    await until(lambda: gone(store, KEY))
    await store.sweep()
    await store.set(KEY, {"senderId": SECRET})
    assert await store.invalidate(sender=SECRET) == 1
    assert (await store.health()).ok


async def what_fails(store: Store) -> None:
    """Make each error that a caller can."""
    await store.set(KEY, {"sessionId": SECRET})
    for call in (
        store.set(KEY, {}, expected=99),
        store.set(KEY, f'{{"{SECRET}"'),
        store.append(KEY, [SECRET.encode()], position=99),
        store.append(KEY, [f"{SECRET}\n".encode()]),
        store.append(f"{KEY.key}-absent", [b""]),
        store.set(KEY, {}, fence=99),
        store.title(KEY, f"{SECRET}\n"),
        store.changes(SECRET),
        store.list(cursor=SECRET),
        store.read_archive("..", SECRET),
    ):
        with contextlib.suppress(SessionError):
            await call


def test_an_entry_does_not_print_itself() -> None:
    entry = Entry.of({"label": SECRET})
    assert SECRET not in f"{entry!r} {entry}"
