"""What people set on a session from the command line, and that it is there afterwards."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from sessionstore.sessions import Lifetime, open_store
from tests.cli.commands import one_line

KEY = "agent:main:telegram:direct:123456789"


def row(cli) -> dict[str, object]:
    rows = [json.loads(line) for line in cli("list", "--json").stdout.splitlines()]
    return next(found for found in rows if found["key"] == KEY)


def test_an_archived_session_is_archived_until_it_is_restored(cli) -> None:
    archived = json.loads(cli("archive", KEY, "--reason", "moved away", "--json").stdout)
    assert (archived["status"], archived["reason"], archived["revision"]) == ("archived", "moved away", 2)
    assert row(cli)["status"] == "archived"
    assert "Archived:   moved away\n" in cli("get", KEY).stdout
    restored = json.loads(cli("restore", KEY, "--json").stdout)
    assert (restored["status"], restored["reason"]) == ("active", None)


def test_a_pinned_session_does_not_expire_until_it_is_unpinned(cli) -> None:
    assert cli("touch", KEY, "--ttl", "30d").exit_code == 0
    expires = row(cli)["expiresAt"]
    assert isinstance(expires, int)
    assert json.loads(cli("pin", KEY, "--json").stdout)["pinned"] is True
    assert (row(cli)["pinned"], row(cli)["expiresAt"]) == (True, None)
    assert cli("unpin", KEY).stdout == f"main/{KEY} unpinned, revision 4\n"
    assert row(cli)["expiresAt"] >= expires


@pytest.mark.parametrize(
    ("duration", "milliseconds"), [("90", 90_000), ("90s", 90_000), ("15m", 900_000), ("12h", 43_200_000)]
)
def test_a_lifetime_is_said_in_any_unit(cli, state_dir: Path, duration: str, milliseconds: int) -> None:
    assert json.loads(cli("touch", KEY, "--idle", duration, "--json").stdout)["touched"] is True

    async def lifetime() -> Lifetime:
        async with open_store(f"file://{state_dir}") as store:
            return (await store.get(KEY)).lifetime

    assert asyncio.run(lifetime()) == Lifetime(idle_ms=milliseconds)


def test_a_session_without_end_has_none(cli) -> None:
    cli("touch", KEY, "--idle", "1h")
    assert row(cli)["expiresAt"] is not None
    cli("touch", KEY, "--idle", "0", "--ttl", "0")
    assert row(cli)["expiresAt"] is None


def test_tags_are_added_and_taken_away(cli) -> None:
    cli("tag", KEY, "--add", "vip", "--add", "de")
    found = json.loads(cli("tag", KEY, "--remove", "de", "--add", "eu", "--json").stdout)
    assert found["tags"] == ["eu", "vip"] == row(cli)["tags"]
    assert "Tags:       eu, vip\n" in cli("get", KEY).stdout


def test_a_title_is_given_and_taken_away(cli) -> None:
    cli("title", KEY, "Holiday plans")
    assert row(cli)["title"] == "Holiday plans"
    cli("title", KEY, "--clear")
    # The entry has one of its own.
    assert row(cli)["title"] == "TG Alice"


COMMANDS = [
    ("archive",), ("restore",), ("pin",), ("unpin",), ("tag", "--add", "t"), ("title", "t"), ("touch",),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_session_that_is_not_there_is_not_marked(cli, command: tuple[str, ...]) -> None:
    result = cli(command[0], "nope", *command[1:])
    assert (result.exit_code, result.stdout, one_line(result.stderr)) == (1, "", True)


@pytest.mark.parametrize("command", ["archive", "restore"])
def test_a_session_that_changed_is_left_alone(cli, command: str) -> None:
    result = cli(command, KEY, "--expected", "7")
    assert (result.exit_code, one_line(result.stderr)) == (1, True)
    assert row(cli)["status"] == "active"


MISUSED = [
    ("tag", KEY), ("title", KEY), ("title", KEY, "t", "--clear"), ("touch", KEY, "--ttl", "soon"),
    ("touch", KEY, "--idle", "-1"), ("touch", KEY, "--ttl", "999999999999d"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", MISUSED, ids=" ".join)
def test_wrong_use_is_status_2(cli, arguments: tuple[str, ...]) -> None:
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr
