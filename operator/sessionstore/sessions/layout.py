"""How a keyspace lies in Redis: key names, buckets, and what a user of it must be allowed. Pure.

The redis backend reads and writes by it; the operator makes ACL users by it. docs/design/0001-identity.md,
"Redis layout, version 2", is the contract: a change here needs a new LAYOUT.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from sessionstore.sessions.exceptions import ConfigurationError

LAYOUT = 2
BUCKETS = 64
FEED_LENGTH = 20_000
"""Events that a bucket's feed keeps, roughly: Redis trims whole nodes of its radix tree."""

GATEWAY_COMMANDS: tuple[str, ...] = (
    # a connection: who we are, is the server there (HELLO is how redis-py 5-8 speak RESP3, AUTH how they log in)
    "+auth",
    "+hello",
    "+ping",
    "+select",
    # Redis Cluster: which server keeps a key's slot, and a slot that is on its way to another one
    "+asking",
    "+cluster|slots",
    # scripts: every mutation, and reads that must see one moment
    "+eval",
    "+evalsha",
    # what the scripts and the plain reads run; Redis checks these inside scripts as well
    "+time",
    "+exists",
    "+get",
    "+set",
    "+del",
    "+unlink",
    "+hget",
    "+hset",
    "+hsetnx",
    "+hdel",
    "+hmget",
    "+hgetall",
    "+hkeys",
    "+hlen",
    "+llen",
    "+lrange",
    "+ltrim",
    "+rpush",
    "+sadd",
    "+srem",
    "+smembers",
    "+zadd",
    "+zcard",
    "+zcount",
    "+zrem",
    "+zrangebyscore",
    "+zrevrangebyscore",
    "+xadd",
    # the feed
    "+xlen",
    "+xrange",
    "+xread",
    "+xrevrange",
)
"""The ACL rules of a gateway's or a migration's user, as `ACL SETUSER` takes them, beside `resetchannels -@all` and
`~` with `key_pattern`. An allow-list: `+@all -@dangerous` still lets SCAN, RANDOMKEY and DBSIZE see other keyspaces.
tests/contract/ runs as such a user."""

_KEYSPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check_keyspace(keyspace: str) -> str:
    """Return `keyspace`, or raise ConfigurationError."""
    if not _KEYSPACE.fullmatch(keyspace):
        raise ConfigurationError(
            f"keyspace {keyspace!r} is not a DNS label: 1-63 of a-z 0-9 -, with a letter or digit at both ends"
        )
    return keyspace


def key_pattern(keyspace: str) -> str:
    """Return the pattern of all keys of a keyspace, as an ACL user's `~` rule takes it."""
    return f"sst:{check_keyspace(keyspace)}:*"


def bucket_of(agent: str, name: str) -> int:
    """Return the bucket of a session (`name` is its key) or of an archive (`name` is its file name)."""
    return zlib.crc32(f"{agent}:{name}".encode()) % BUCKETS


def member(agent: str, name: str) -> str:
    """Return how an index names a session, or an archive hash an archive. An agent holds no `:`."""
    return f"{agent}:{name}"


def split_member(text: str) -> tuple[str, str]:
    """Return (agent, name) of a `member`."""
    agent, _, name = text.partition(":")
    return agent, name


@dataclass(frozen=True, slots=True)
class KeyNames:
    """The key names of one keyspace.

    Raises: ConfigurationError for a keyspace that is no DNS label.
    """

    keyspace: str

    def __post_init__(self) -> None:
        check_keyspace(self.keyspace)

    @property
    def meta(self) -> str:
        """Hash: `layout`, `buckets`, `id`."""
        return f"sst:{self.keyspace}:meta"

    def entry(self, agent: str, key: str) -> str:
        """Hash: the session's record."""
        return f"{self._bucket(bucket_of(agent, key))}:e:{agent}:{key}"

    def transcript(self, agent: str, key: str, transcript_id: str) -> str:
        """List: the lines of a transcript. Its id holds no `:`."""
        return f"{self._bucket(bucket_of(agent, key))}:t:{transcript_id}:{agent}:{key}"

    def lease(self, agent: str, key: str) -> str:
        """String: the session's lease."""
        return f"{self._bucket(bucket_of(agent, key))}:l:{agent}:{key}"

    def index(self, bucket: int) -> str:
        """Sorted set: `member` of each active session, by `updated_ms`."""
        return f"{self._bucket(bucket)}:i"

    def archived(self, bucket: int) -> str:
        """Sorted set: `member` of each archived session, by `updated_ms`."""
        return f"{self._bucket(bucket)}:ia"

    def expiring(self, bucket: int) -> str:
        """Sorted set: `member` of each session that will expire, by `expires_ms`."""
        return f"{self._bucket(bucket)}:z"

    def feed(self, bucket: int) -> str:
        """Stream: the changes of the bucket."""
        return f"{self._bucket(bucket)}:f"

    def archives(self, bucket: int) -> str:
        """Hash: `member` of each archive -> its number of lines."""
        return f"{self._bucket(bucket)}:a"

    def archive(self, agent: str, name: str) -> str:
        """List: the lines of an archive."""
        return f"{self._bucket(bucket_of(agent, name))}:x:{agent}:{name}"

    @property
    def documents(self) -> str:
        """Set: the names of the documents."""
        return f"sst:{self.keyspace}:d"

    def document(self, name: str) -> str:
        """String: a document."""
        return f"{self.documents}:{name}"

    def _bucket(self, bucket: int) -> str:
        return f"sst:{self.keyspace}:{{b{bucket}}}"
