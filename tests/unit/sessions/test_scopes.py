"""Who shares a session with whom, and that nobody else does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore.sessions import ConfigurationError, InvalidKey, SessionKey, Unavailable
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.scopes import Scope, Scopes, ephemeral

SCOPES = Scopes(Scope.PER_CHANNEL, {"inbox": Scope.PER_SENDER, "home": Scope.GLOBAL})
ALONE = Scopes(Scope.GLOBAL, {"support": Scope.ISOLATED, "kiosk": Scope.EPHEMERAL})


@pytest.mark.parametrize(
    ("scopes", "where", "key", "scope"),
    [
        pytest.param(Scopes(), ("telegram", "42"), "agent:main:telegram:direct:42", "per-channel", id="the default"),
        pytest.param(SCOPES, ("inbox", "42"), "agent:main:direct:42", "per-sender", id="per sender"),
        pytest.param(SCOPES, ("home", "42"), "agent:main:main", "global", id="global"),
        pytest.param(SCOPES, ("home", ""), "agent:main:main", "global", id="global needs no sender"),
        pytest.param(SCOPES, ("telegram", "42", "work"), "agent:work:telegram:direct:42", "per-channel", id="an agent"),
        pytest.param(ALONE, ("support", "42"), "agent:main:support:default:direct:42", "isolated", id="isolated"),
        pytest.param(ALONE, ("kiosk", "42"), "agent:main:kiosk:ephemeral:42", "ephemeral", id="ephemeral"),
        pytest.param(SCOPES, ("x", "Ann"), "agent:main:x:direct:Ann", "per-channel", id="capitals stay"),
        pytest.param(SCOPES, ("x", "@a:b%"), "agent:main:x:direct:@a%3Ab%25", "per-channel", id="colons are escaped"),
    ],
)
def test_a_message_belongs_to_the_session_of_its_scope(
    scopes: Scopes, where: tuple[str, ...], key: str, scope: str
) -> None:
    found = scopes.resolve(*where)
    assert (found.key, found.scope) == (SessionKey.of(key), scope)


def test_a_thread_is_a_session_of_its_own_and_an_account_only_where_isolated() -> None:
    assert SCOPES.resolve("x", "1", account="two", thread="t").key.key == "agent:main:x:direct:1:thread:t"
    assert SCOPES.resolve("home", "1", thread="t").key.key == "agent:main:main:thread:t"
    assert ALONE.resolve("support", "1", account="two", thread="t").key.key == (
        "agent:main:support:two:direct:1:thread:t"
    )


# What is dangerous in keys, and anything else.
PARTS = st.text(
    st.sampled_from(":%3A2a") | st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
)
PARTS |= st.sampled_from(["direct", "main", "thread", "ephemeral", "default", "direct:x", "x:thread:y", "%3A", "%253a"])
CHANNELS = PARTS.map(str.lower).filter(lambda text: text == text.lower())
ASKED = st.tuples(
    st.sampled_from(Scope), CHANNELS, PARTS, st.sampled_from(["main", "direct", "work"]), PARTS, st.none() | PARTS
)


@given(ASKED)
def test_a_key_says_all_that_its_scope_tells_apart(asked: Any) -> None:
    """What can be read back from the key cannot have been the same for two different answers."""
    scope, channel, sender, agent, account, thread = asked
    scopes = Scopes(channels={channel: scope})
    key = scopes.resolve(channel, sender, agent, account=account, thread=thread).key
    assert read_back(key) == told_apart(*asked)


def read_back(key: SessionKey) -> tuple[Any, ...]:
    _, agent, *parts = (part.replace("%3A", ":").replace("%25", "%") for part in key.key.split(":"))
    match parts:
        case ["main", *rest] if rest[:1] in ([], ["thread"]):
            return (Scope.GLOBAL, agent, thread_of(rest))
        case [channel, "direct", sender, *rest] if len(parts) in (3, 5):
            return (Scope.PER_CHANNEL, agent, thread_of(rest), channel, sender)
        case [channel, "ephemeral", sender, *rest] if len(parts) in (3, 5):
            return (Scope.EPHEMERAL, agent, thread_of(rest), channel, sender)
        case ["direct", sender, *rest] if rest[:1] in ([], ["thread"]):
            return (Scope.PER_SENDER, agent, thread_of(rest), sender)
        case [channel, account, "direct", sender, *rest]:
            return (Scope.ISOLATED, agent, thread_of(rest), channel, account, sender)
    raise AssertionError(f"{key} is of no scope")


def thread_of(rest: list[str]) -> str | None:
    assert rest[:1] in ([], ["thread"])
    return rest[1] if rest else None


def told_apart(
    scope: Scope, channel: str, sender: str, agent: str, account: str, thread: str | None
) -> tuple[str | None, ...]:
    """Return all that a scope tells apart."""
    by = {
        Scope.GLOBAL: (),
        Scope.PER_SENDER: (sender,),
        Scope.PER_CHANNEL: (channel, sender),
        Scope.ISOLATED: (channel, account, sender),
        Scope.EPHEMERAL: (channel, sender),
    }
    return (scope, agent, thread, *by[scope])


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        pytest.param({"channel": "Telegram", "sender": "1"}, "write 'telegram'", id="capitals in a channel"),
        pytest.param({"channel": "", "sender": "1"}, "channel is empty", id="no channel"),
        pytest.param({"channel": "x", "sender": ""}, "sender is empty", id="no sender"),
        pytest.param({"channel": "x", "sender": "1", "thread": ""}, "thread is empty", id="an empty thread"),
        pytest.param({"channel": "x", "sender": "1", "agent": "a:b"}, "agent 'a:b'", id="an impossible agent"),
        pytest.param({"channel": "x", "sender": "1" * 5000}, "bytes", id="too long"),
    ],
)
def test_what_cannot_name_a_session_is_refused(asked: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidKey, match=why):
        Scopes().resolve(**asked)


def test_scopes_are_read_from_a_mapping() -> None:
    found = Scopes.from_mapping({"default": "per-sender", "channels": {"support": "isolated"}})
    assert found == Scopes(Scope.PER_SENDER, {"support": Scope.ISOLATED})
    assert Scopes.from_mapping({}) == Scopes()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        pytest.param({"default": "per-chanel"}, "did you mean 'per-channel'", id="a slip in the default"),
        pytest.param({"default": "isolated"}, "scope of single channels", id="a channel's scope as default"),
        pytest.param({"default": 7}, "known are per-channel", id="no text"),
        pytest.param(
            {"channels": {"x": "ephemeralish"}}, "channel 'x': .*did you mean 'ephemeral'", id="a channel's slip"
        ),
        pytest.param({"channels": {"X": "isolated"}}, "write 'x'", id="capitals in a channel"),
        pytest.param({"channels": {1: "isolated"}}, "put it in quotes", id="a number as channel"),
        pytest.param({"channels": ["x"]}, "mapping of channel to scope", id="a list of channels"),
        pytest.param({"chanels": {}}, "did you mean 'channels'", id="a slip in a key"),
    ],
)
def test_what_is_no_configuration_says_why(values: dict[Any, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Scopes.from_mapping(values)


# -- ephemeral sessions ---------------------------------------------------------------------------

KEY = SessionKey("main", "agent:main:kiosk:ephemeral:42")


async def test_an_ephemeral_session_ends_with_its_block() -> None:
    store = MemoryStore()
    async with ephemeral(store, KEY, {"channel": "kiosk"}) as session:
        assert session.key.key.startswith(KEY.key + ":")
        assert session.entry["channel"] == "kiosk"
        assert (await store.append(session.key, [b"{}"])).lines == 1
    assert await store.get(session.key) is None


async def test_two_ephemeral_sessions_never_meet() -> None:
    store = MemoryStore()
    async with ephemeral(store, KEY) as one, ephemeral(store, KEY) as two:
        assert one.key != two.key
        assert one.entry.session_id != two.entry.session_id


async def test_a_named_transcript_is_kept() -> None:
    async with ephemeral(MemoryStore(), KEY, {"sessionId": "mine"}) as session:
        assert session.entry.session_id == "mine"


async def test_an_ephemeral_session_is_destroyed_after_an_error() -> None:
    store = MemoryStore()
    with pytest.raises(ZeroDivisionError):
        async with ephemeral(store, KEY) as session:
            _ = 1 / 0
    assert await store.get(session.key) is None


async def test_an_ephemeral_session_that_nobody_ends_expires() -> None:
    now = [1_000]
    store = MemoryStore(lambda: now[0])
    leaving = ephemeral(store, KEY)
    session = await leaving.__aenter__()
    now[0] += 24 * 3600 * 1000 + 1
    assert await store.get(session.key) is None
    await leaving.__aexit__(None, None, None)


class _Slow(MemoryStore):
    """Deletes only when it is told to, and says when it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.asked, self.go, self.error = asyncio.Event(), asyncio.Event(), error

    async def delete(self, *args: Any, **options: Any) -> bool:
        self.asked.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return await super().delete(*args, **options)


async def test_an_ephemeral_session_is_destroyed_when_its_task_is_cancelled_twice() -> None:
    store, began = _Slow(), asyncio.Event()

    async def serve() -> None:
        async with ephemeral(store, KEY):
            began.set()
            await asyncio.Event().wait()

    serving = asyncio.create_task(serve())
    await began.wait()
    serving.cancel()
    await store.asked.wait()
    serving.cancel()
    store.go.set()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert await store.count() == 0


async def test_a_session_that_cannot_be_deleted_is_told() -> None:
    store = _Slow(Unavailable("away"))
    store.go.set()
    with pytest.raises(Unavailable):
        async with ephemeral(store, KEY):
            pass


async def test_an_error_is_not_hidden_by_a_session_that_cannot_be_deleted(caplog: pytest.LogCaptureFixture) -> None:
    store = _Slow(Unavailable("away"))
    store.go.set()
    with caplog.at_level(logging.WARNING), pytest.raises(ZeroDivisionError):
        async with ephemeral(store, KEY):
            _ = 1 / 0
    assert "left to expire: Unavailable" in caplog.text
    assert KEY.key not in caplog.text
