"""A running server's users follow the spec, without a restart; and in sync means nothing to do."""

from __future__ import annotations

import pytest
import redis
import redis.exceptions

from sessionstore.engines.engine import EngineFacts, Unreachable
from tests.redis import servers
from tests.redis.builders import a_store, passwords_for

BEFORE = a_store({"openclaw": None, "mail": "letters"})
PASSWORDS = passwords_for("gateway-openclaw", "gateway-mail", "gateway-new")
KEY = "sst:chat:{b1}:e:main:k"


@pytest.fixture
async def server(binary: str, tmp_path):
    async with servers.serving(binary, tmp_path / "data", BEFORE, PASSWORDS) as running:
        yield running


async def _step(server: servers.Running, store=BEFORE, passwords=PASSWORDS):
    facts = await servers.facts_of(server, store, passwords)
    return servers.ENGINE.next_step(store, facts, passwords)


async def _converge(server: servers.Running, store=BEFORE, passwords=PASSWORDS):
    """Take one step, and return it; a second must not be needed."""
    step = await _step(server, store, passwords)
    assert step is not None
    assert await servers.ENGINE.perform(step, store, passwords, server.endpoint) is None
    assert await _step(server, store, passwords) is None
    return step


def _works(server: servers.Running, user: str, password: str, key: str = KEY) -> bool:
    with server.client(user, password) as client:
        try:
            client.set(key, "v")
        except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError):
            return False
        return True


async def test_a_server_that_started_with_its_file_is_in_sync(server) -> None:
    assert await _step(server) is None


@pytest.mark.parametrize(
    ("gateways", "changed", "removed"),
    [
        pytest.param({"openclaw": None, "mail": "letters", "new": None}, ["gateway-new"], [], id="a gateway more"),
        pytest.param({"openclaw": None}, ["_migration"], ["gateway-mail"], id="a gateway less, and its keyspace"),
        pytest.param({}, ["_migration"], ["gateway-mail", "gateway-openclaw"], id="no gateway any more"),
        pytest.param({"openclaw": None, "mail": "post"}, ["_migration", "gateway-mail"], [], id="another keyspace"),
    ],
)
async def test_users_follow_the_gateways(server, gateways, changed, removed) -> None:
    step = await _converge(server, a_store(gateways))

    assert [user.name for user in step.changed] == changed
    assert list(step.removed) == removed


async def test_a_removed_gateway_is_out_at_once_and_others_are_not_disturbed(server) -> None:
    with server.client("gateway-openclaw", PASSWORDS["gateway-openclaw"]) as staying:
        staying.set(KEY, "before")
        await _converge(server, a_store({"openclaw": None}))

        assert staying.get(KEY) == "before"
    assert not _works(server, "gateway-mail", PASSWORDS["gateway-mail"], "sst:letters:k")


async def test_a_changed_password_works_at_once_and_the_old_one_no_more(server) -> None:
    await _converge(server, passwords={**PASSWORDS, "gateway-openclaw": "another"})

    assert _works(server, "gateway-openclaw", "another")
    assert not _works(server, "gateway-openclaw", PASSWORDS["gateway-openclaw"])


async def test_two_passwords_of_a_user_live_at_once(server) -> None:
    old = PASSWORDS["gateway-openclaw"]

    await _converge(server, passwords={**PASSWORDS, "gateway-openclaw": (old, "next")})

    assert _works(server, "gateway-openclaw", old)
    assert _works(server, "gateway-openclaw", "next")


async def test_the_operator_changes_its_own_password_in_two_steps(server) -> None:
    old = PASSWORDS["_operator"]
    both = {**PASSWORDS, "_operator": (old, "next")}
    # Until the server knows the next one, the operator can only come in with the old one.
    step = await _step(server)
    assert step is None
    facts = await servers.facts_of(server, BEFORE, PASSWORDS)
    step = servers.ENGINE.next_step(BEFORE, facts, both)
    assert await servers.ENGINE.perform(step, BEFORE, PASSWORDS, server.endpoint) is None

    await _converge(server, passwords={**PASSWORDS, "_operator": "next"})

    with server.client("_operator", old) as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.ping()


@pytest.mark.parametrize(
    "by_hand",
    [
        pytest.param(("ACL SETUSER", "intruder", "on", ">pw", "~*", "+@all"), id="a user of nobody"),
        pytest.param(("ACL SETUSER", "default", "on", "nopass", "~*", "+@all"), id="default switched on"),
        pytest.param(("ACL SETUSER", "app", "~*"), id="more keys"),
        pytest.param(("ACL SETUSER", "app", "+flushall"), id="more commands"),
        pytest.param(("ACL SETUSER", "app", "-get"), id="fewer commands"),
        pytest.param(("ACL SETUSER", "app", "&*"), id="channels"),
        pytest.param(("ACL SETUSER", "app", "nopass"), id="any password"),
        pytest.param(("ACL SETUSER", "app", ">second"), id="another password"),
        pytest.param(("ACL SETUSER", "app", "off"), id="switched off"),
        pytest.param(("ACL SETUSER", "app", "(~* +get)"), id="a selector"),
        pytest.param(("ACL DELUSER", "app"), id="deleted"),
    ],
)
async def test_what_was_changed_by_hand_is_put_back(server, by_hand) -> None:
    with server.client("_operator", PASSWORDS["_operator"]) as client:
        client.execute_command(*by_hand)

    await _converge(server)

    assert _works(server, "app", PASSWORDS["app"])
    assert not _works(server, "app", "second")
    assert not _works(server, "intruder", "pw")


async def test_a_step_that_reaches_nobody_says_so(binary, tmp_path) -> None:
    async with servers.serving(binary, tmp_path / "data", BEFORE, PASSWORDS) as running:
        facts = await servers.facts_of(running, BEFORE, PASSWORDS)
    step = servers.ENGINE.next_step(a_store(), facts, PASSWORDS)

    answer = await servers.ENGINE.perform(step, BEFORE, PASSWORDS, running.endpoint)

    assert isinstance(facts, EngineFacts)
    assert isinstance(answer, Unreachable)
    assert answer.reason == "connection"
