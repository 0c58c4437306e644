"""The keyspace as a whole: how it is laid out, and which store it is."""

from __future__ import annotations

import asyncio
import logging

from sessionstore.sessions import feed, layout
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.redis.client import Client
from sessionstore.sessions.redis.failures import telling

logger = logging.getLogger(__name__)

_WANTED = {b"layout": b"%d" % layout.LAYOUT, b"buckets": b"%d" % layout.BUCKETS}
_NEVER = -1


class Keyspace:
    """Looks at the keyspace before it is used, and again whenever a server may be another one, or an emptied one.

    Reading leaves no trace in it; the first change records its layout, and the id that cursors of its feed carry.
    """

    def __init__(self, client: Client, names: layout.KeyNames) -> None:
        """Prepare; nothing is read yet."""
        self._client = client
        self._meta = names.meta
        self._keyspace = names.keyspace
        self._looking = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._read_at = self._written_at = _NEVER  # the client's epoch when it was last right to read, to write
        self._id: bytes | None = None
        self.lost: str | None = None
        """What is known of lost data, for people."""

    def is_right(self, *, writing: bool) -> bool:
        """Return whether `check` has nothing to do."""
        return self._client.epoch == (self._written_at if writing else self._read_at)

    async def check(self, *, writing: bool) -> None:
        """Return when the keyspace may be used. Raises: Unreadable for one that is laid out otherwise."""
        async with self._turns():
            while not self.is_right(writing=writing):
                epoch = self._client.epoch
                with telling(f"keyspace {self._keyspace}, at {self._meta},"):
                    found = await self._client.read("HGETALL", self._meta)
                if writing and not _is_whole(found):
                    found = await self._record(found)
                self._judge(found)
                self._read_at = epoch
                if _is_whole(found):
                    self._written_at = epoch

    def _turns(self) -> asyncio.Lock:
        """Return the lock of this loop: one that was waited for in another loop cannot be."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._looking = loop, asyncio.Lock()
        return self._looking

    async def _record(self, found: dict[bytes, bytes]) -> dict[bytes, bytes]:
        for field, value in {**_WANTED, b"id": feed.new_id().encode()}.items():
            if field not in found:
                # Another process may do the same at this moment: what the first one wrote stands.
                await self._client.write("HSETNX", self._meta, field, value, again=True)
        return dict(await self._client.read("HGETALL", self._meta))

    def _judge(self, found: dict[bytes, bytes]) -> None:
        if any(found.get(field, value) != value for field, value in _WANTED.items()):
            raise Unreadable(
                f"keyspace {self._keyspace} is laid out as {_spelled(found)}, and this version reads "
                f"{_spelled(_WANTED)}; use the version that wrote it, or another keyspace"
            )
        if self._id is not None and found.get(b"id") != self._id:
            self.lost = (
                f"keyspace {self._keyspace} is not the one it was when this process began: the server came back "
                "without its data, or with another store's; what was written before is gone"
            )
            logger.warning("%s", self.lost)
        self._id = found.get(b"id")


def _is_whole(fields: dict[bytes, bytes]) -> bool:
    return fields.keys() >= {*_WANTED, b"id"}


def _spelled(fields: dict[bytes, bytes]) -> str:
    shown = ((name, fields[name]) for name in sorted(_WANTED) if name in fields)
    return ", ".join(f"{name.decode()} {value.decode(errors='replace')}" for name, value in shown)
