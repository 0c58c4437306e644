"""The users that a spec asks for, and how they differ from those of a server."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from sessionstore import errors
from sessionstore.engines.engine import User
from sessionstore.engines.redis import users
from tests.redis.builders import a_store, passwords_for

PASSWORDS = passwords_for("gateway-openclaw", "gateway-mail")


def _as_listed(wanted: tuple[User, ...]) -> dict[str, str]:
    """Write users as `ACL LIST` of Redis 7.0 does: a flag of its own, and commands in an order of its own."""
    lines = {}
    for user in wanted:
        state, *rest = user.rules
        commands = sorted((rule for rule in rest if rule.startswith("+")), reverse=True)
        others = [rule for rule in rest if not rule.startswith("+")]
        lines[user.name] = " ".join(["user", user.name, state, "sanitize-payload", *others, *commands])
    return lines


@pytest.mark.parametrize(
    ("gateways", "expected"),
    [
        pytest.param({}, (), id="no gateway"),
        pytest.param({"openclaw": None}, ("gateway-openclaw",), id="one"),
        pytest.param({"openclaw": None, "mail": "x"}, ("gateway-openclaw", "gateway-mail"), id="two, in order"),
    ],
)
def test_every_gateway_has_a_user_beside_the_four_that_always_are(gateways, expected) -> None:
    assert users.user_names(a_store(gateways)) == ("_operator", "_migration", "_health", "app", *expected)


@pytest.mark.parametrize(
    ("gateways", "expected"),
    [
        pytest.param({}, ("chat",), id="no gateway"),
        pytest.param({"openclaw": None}, ("chat",), id="the store's own"),
        pytest.param({"openclaw": "post", "mail": "post"}, ("chat", "post"), id="one that two share"),
    ],
)
def test_keyspaces_are_the_stores_and_its_gateways(gateways, expected) -> None:
    assert users.keyspaces(a_store(gateways)) == expected


def test_patterns_follow_the_keyspaces() -> None:
    made = {user.name: user for user in users.make_users(a_store({"openclaw": None, "mail": "post"}), PASSWORDS)}
    patterns = {name: [rule for rule in user.rules if "~" in rule and "(" not in rule] for name, user in made.items()}

    assert patterns == {
        "default": ["~*"],
        "_operator": ["%R~sst:*"],
        "_migration": ["~sst:chat:*", "~sst:post:*"],
        "_health": [],
        "app": ["~sst:chat:*"],
        "gateway-openclaw": ["~sst:chat:*"],
        "gateway-mail": ["~sst:post:*"],
    }


def test_of_documents_the_operator_can_read_what_migrations_tell_and_no_other() -> None:
    (apart,) = [
        rule for user in users.make_users(a_store({"openclaw": None}), PASSWORDS) for rule in user.rules if "(" in rule
    ]

    assert apart.strip("()").split() == [
        "%R~sst:*:d:migration/*/progress",
        "%R~sst:*:d:migration/*/report",
        "resetchannels",
        "-@all",
        "+get",
    ]


def test_no_user_has_more_than_named_commands_but_the_one_that_nobody_can_be() -> None:
    default, *made = users.make_users(a_store({"openclaw": None}), PASSWORDS)
    loose = {"+@all", "allcommands", "allkeys", "~*", "&*", "allchannels", "nopass"}

    assert (default.name, default.rules) == ("default", ("off", "~*", "&*", "+@all"))
    assert [user.name for user in made if loose & set(user.rules)] == []
    assert all(user.rules.index("-@all") < min(_places(user)) for user in made if _places(user))


def _places(user: User) -> list[int]:
    return [place for place, rule in enumerate(user.rules) if rule.startswith("+")]


def test_default_is_off_in_the_file_and_every_line_begins_from_nothing() -> None:
    lines = users.acl_file(users.make_users(a_store(), PASSWORDS)).splitlines()

    assert lines[0] == "user default reset off ~* &* +@all"
    assert all(line.split()[2] == "reset" for line in lines)


def test_passwords_are_in_the_file_as_digests_only() -> None:
    text = users.acl_file(users.make_users(a_store(), PASSWORDS))

    assert f"#{hashlib.sha256(b'pw-of-app').hexdigest()}" in text
    assert "pw-of" not in text


def test_a_user_may_have_two_live_passwords_and_the_newest_logs_in() -> None:
    passwords = {**PASSWORDS, "app": ("old", "new")}
    made = {user.name: user for user in users.make_users(a_store(), passwords)}

    assert [rule for rule in made["app"].rules if rule.startswith("#")] == [
        f"#{hashlib.sha256(text).hexdigest()}" for text in (b"old", b"new")
    ]
    assert users.newest_password(passwords, "app") == "new"
    assert users.newest_password(passwords, "_health") == "pw-of-health"


def test_a_user_without_a_password_is_never_made() -> None:
    with pytest.raises(KeyError, match="gateway-openclaw"):
        users.make_users(a_store({"openclaw": None}), passwords_for())


def test_in_sync_is_nothing_to_do() -> None:
    wanted = users.make_users(a_store({"openclaw": None}), PASSWORDS)

    assert users.make_sync(wanted, _as_listed(wanted)) is None


@pytest.mark.parametrize(
    ("name", "listed", "changed", "removed"),
    [
        pytest.param("app", None, ["app"], (), id="missing"),
        pytest.param("app", "user app off #00 resetchannels -@all", ["app"], (), id="off"),
        pytest.param("default", "user default on nopass sanitize-payload ~* &* +@all", ["default"], (), id="default"),
        pytest.param("b", "user b on nopass ~* &* +@all", [], ("b",), id="one nobody asked for"),
    ],
)
def test_what_differs_is_set_or_removed(name, listed, changed, removed) -> None:
    wanted = users.make_users(a_store(), PASSWORDS)
    found = {**_as_listed(wanted), name: listed}

    step = users.make_sync(wanted, {user: line for user, line in found.items() if line})

    assert step is not None
    assert ([user.name for user in step.changed], step.removed) == (changed, removed)


def test_a_step_is_told_in_names_and_shows_no_digest() -> None:
    wanted = users.make_users(a_store(), PASSWORDS)
    step = users.make_sync(wanted, {"b": "user b on", "default": "user default off ~* &* +@all"})

    assert str(step) == "users: set _operator, _migration, _health, app; remove b"
    assert "#" not in repr(step)


def test_a_store_whose_name_is_no_keyspace_is_refused_as_a_spec() -> None:
    store = a_store()
    dotted = store.model_copy(update={"metadata": store.metadata.model_copy(update={"name": "chat.v2"})})

    with pytest.raises(errors.SpecError, match=r"chat\.v2"):
        users.make_users(dotted, PASSWORDS)


def test_users_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        users.make_users(a_store(), PASSWORDS)[0].name = "x"
