"""Which session a message belongs to: who shares a conversation with whom. And sessions that end with a block.

`Scopes.resolve` is pure. Its keys are OpenClaw's where the meanings are the same (`dmScope` of 2026.7.1-2), so a
gateway finds the sessions that OpenClaw made:

    global        agent:<agent>:main                                  one for all (`main`)
    per-sender    agent:<agent>:direct:<sender>                       one for each sender on all channels (`per-peer`)
    per-channel   agent:<agent>:<channel>:direct:<sender>             one for each on each channel (`per-channel-peer`)
    isolated      agent:<agent>:<channel>:<account>:direct:<sender>   and each account (`per-account-channel-peer`)
    ephemeral     agent:<agent>:<channel>:ephemeral:<sender>:<token>  one for each block of `ephemeral`

Each may end in `:thread:<thread>`. No two different answers have one key: `:` and `%` inside a part are written `%3A`
and `%25`, and capitals stay, where OpenClaw folds them (two people whose ids differ by case are two people).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from sessionstore.sessions import nearest
from sessionstore.sessions.exceptions import ConfigurationError, InvalidKey, SessionError
from sessionstore.sessions.record import DEFAULT_AGENT, Entry, EntryLike, Lifetime, Session, SessionKey
from sessionstore.sessions.store import Store

DEFAULT_ACCOUNT = "default"
"""OpenClaw's name for the account of a channel that has only one."""
LOST_AFTER_MS = 24 * 3600 * 1000
"""How long an ephemeral session outlives a process that was killed: without use for so long, it expires."""

_log = logging.getLogger(__name__)


class Scope(StrEnum):
    """Who shares a session."""

    PER_CHANNEL = "per-channel"
    PER_SENDER = "per-sender"
    GLOBAL = "global"
    ISOLATED = "isolated"
    """Of single channels only: nothing is shared between accounts of the channel either."""
    EPHEMERAL = "ephemeral"
    """Of single channels only: nothing is kept; see `ephemeral`."""


DEFAULT_SCOPES = (Scope.PER_CHANNEL, Scope.PER_SENDER, Scope.GLOBAL)


@dataclass(frozen=True, slots=True)
class ScopedKey:
    """A session's key and the scope that led to it. An `ephemeral` one is to be opened with `ephemeral` only."""

    key: SessionKey
    scope: Scope


@dataclass(frozen=True, slots=True)
class Scopes:
    """The configured scopes.

    Attributes:
        default: of every channel that `channels` does not name; not `isolated` or `ephemeral`.
        channels: channel -> its scope.
    Raises: ConfigurationError.
    """

    default: Scope = Scope.PER_CHANNEL
    channels: Mapping[str, Scope] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "default", _scope(self.default, DEFAULT_SCOPES, "default"))
        for channel in self.channels:
            _check_configured(channel)
        scopes = {name: _scope(scope, tuple(Scope), f"channel {name!r}") for name, scope in self.channels.items()}
        object.__setattr__(self, "channels", MappingProxyType(scopes))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read `{"default": "per-sender", "channels": {"support": "isolated"}}`. Raises: ConfigurationError."""
        for name in values:
            if name not in ("default", "channels"):
                raise ConfigurationError(
                    f"{name!r} is not a key of scopes{nearest.hint(name, ('default', 'channels'))}"
                )
        channels = values.get("channels") or {}
        if not isinstance(channels, Mapping):
            raise ConfigurationError(f"channels must be a mapping of channel to scope, not {channels!r}")
        return cls(values.get("default", Scope.PER_CHANNEL), channels)

    def resolve(
        self,
        channel: str,
        sender: str,
        agent: str = DEFAULT_AGENT,
        *,
        account: str = DEFAULT_ACCOUNT,
        thread: str | None = None,
    ) -> ScopedKey:
        """Return the key of the session that a message from `sender` on `channel` belongs to.

        Args:
            channel: as OpenClaw names it: `telegram`, `discord`; in lower case.
            account: which of the channel's accounts received it; counts for `isolated` only.
            thread: a thread is a conversation of its own in every scope.
        Raises: InvalidKey for an empty part, or a channel with capitals: it would miss its own scope.
        """
        _check_channel(channel)
        scope = self.channels.get(channel, self.default)
        parts = ["agent", agent, *_middle(scope, channel, account, sender)]
        if thread is not None:
            parts += ["thread", _part(thread, "thread")]
        return ScopedKey(SessionKey(agent, ":".join(parts)), scope)


@contextlib.asynccontextmanager
async def ephemeral(store: Store, key: SessionKey, entry: EntryLike | None = None) -> AsyncIterator[Session]:
    """Make a session for the time of the block, and delete it at the end: after errors and cancellation too.

    Its key is `key` and a token of its own, so that two blocks never meet. The `file` backend keeps a deleted
    transcript as OpenClaw does, as an archive.

    Args:
        entry: what it begins with; a `sessionId` is added where it names no transcript.
    Raises: Unavailable at the end when the session could not be deleted; after another error, that error, and a
        warning is logged. What is left then, or by a process that was killed, expires when unused for 24 hours.
    """
    token = uuid.uuid4().hex
    made = Entry.of({} if entry is None else entry)
    made = made if made.transcript_id else made.with_fields({"sessionId": token})
    name = SessionKey(key.agent, f"{key.key}:{token}")
    try:
        yield await store.set(name, made, expected=0, lifetime=Lifetime(idle_ms=LOST_AFTER_MS))
    except BaseException:
        try:
            await _deleted(store, name)
        except SessionError as error:
            _log.warning("an ephemeral session could not be deleted and is left to expire: %s", type(error).__name__)
        raise
    await _deleted(store, name)


async def _deleted(store: Store, name: SessionKey) -> None:
    """Delete to the end, even where this task is cancelled meanwhile; the cancellation goes on after that."""
    deleting = asyncio.ensure_future(store.delete(name))
    cancelled: asyncio.CancelledError | None = None
    while not deleting.done():
        try:
            await asyncio.wait([deleting])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None and deleting.exception() is None:
        raise cancelled
    deleting.result()


def _middle(scope: Scope, channel: str, account: str, sender: str) -> list[str]:
    match scope:
        case Scope.GLOBAL:
            return ["main"]
        case Scope.PER_SENDER:
            return ["direct", _part(sender, "sender")]
        case Scope.PER_CHANNEL:
            return [_part(channel, "channel"), "direct", _part(sender, "sender")]
        case Scope.ISOLATED:
            return [_part(channel, "channel"), _part(account, "account"), "direct", _part(sender, "sender")]
        case Scope.EPHEMERAL:
            return [_part(channel, "channel"), "ephemeral", _part(sender, "sender")]


def _part(text: str, what: str) -> str:
    if not text:
        raise InvalidKey(f"{what} is empty: all messages without one would share a session")
    return text.replace("%", "%25").replace(":", "%3A")


def _check_channel(channel: str) -> None:
    if not channel:
        raise InvalidKey("channel is empty")
    if channel != channel.lower():
        raise InvalidKey(f"channel {channel!r} has capitals; write {channel.lower()!r}, as OpenClaw does")


def _check_configured(channel: object) -> None:
    if not isinstance(channel, str):
        raise ConfigurationError(f"channel {channel!r} is not text; put it in quotes")
    try:
        _check_channel(channel)
    except InvalidKey as error:
        raise ConfigurationError(str(error)) from error


def _scope(value: object, allowed: tuple[Scope, ...], where: str) -> Scope:
    if value in allowed:
        return Scope(str(value))
    if value in tuple(Scope):
        raise ConfigurationError(f"{where}: {value} is a scope of single channels; name them under channels")
    raise ConfigurationError(f"{where}: {value!r} is not a scope{nearest.hint(str(value), map(str, allowed))}")
