"""Where a session lies: its key names, made once for each session that is in use. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable

from sessionstore.sessions import layout
from sessionstore.sessions.record import SessionKey
from sessionstore.sessions.store import Key

CACHED_PLACES = 1024
"""Half a megabyte with names of the usual length, a few where all are as long as may be."""


class Place:
    """One session's name and keys. A class and no dataclass: one is made for each session that is spoken of."""

    __slots__ = ("fenced_keys", "keys", "lease", "name", "record")

    def __init__(self, name: SessionKey, record: str, lease: str, bucket: tuple[str, ...]) -> None:
        """Take `bucket`: its feed, and its indexes as the scripts want them."""
        self.name = name
        self.record = record
        self.lease = lease
        self.keys = (record, *bucket)
        """What the scripts of a session take."""
        self.fenced_keys = (*self.keys, lease)


def finder(names: layout.KeyNames) -> Callable[[Key], Place]:
    """Return the function that finds a session's place in a keyspace. It raises InvalidKey."""
    buckets = [bucket_keys(names, bucket) for bucket in range(layout.BUCKETS)]

    @functools.lru_cache(CACHED_PLACES)
    def find(key: Key) -> Place:
        name = SessionKey.of(key)
        bucket = buckets[layout.bucket_of(name.agent, name.key)]
        return Place(name, names.entry(name.agent, name.key), names.lease(name.agent, name.key), bucket)

    return find


def bucket_keys(names: layout.KeyNames, bucket: int) -> tuple[str, ...]:
    """Return the keys of a bucket that the scripts of a session take behind its record."""
    return names.feed(bucket), names.index(bucket), names.archived(bucket), names.expiring(bucket)
