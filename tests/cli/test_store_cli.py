"""Many sessions at once from the command line: found, counted, followed, deleted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest

from sessionstore.cli.main import main
from tests.conftest import ROOT

TELEGRAM = "agent:main:telegram:direct:123456789"
DEADLINE_S = 60


def found(cli, *arguments: str) -> list[str]:
    result = cli("search", "--json", *arguments)
    assert result.exit_code == 0
    return [json.loads(line)["key"] for line in result.stdout.splitlines()]


def test_search_finds_what_all_options_hold_for(cli) -> None:
    cli("tag", TELEGRAM, "--add", "vip", "--add", "de")
    cli("tag", "agent:work:main", "--add", "vip")
    cli("archive", "agent:work:main")
    assert found(cli, "--tag", "vip") == [TELEGRAM]
    assert set(found(cli, "--tag", "vip", "--status", "all")) == {TELEGRAM, "agent:work:main"}
    assert found(cli, "--status", "archived") == ["agent:work:main"]
    assert found(cli, "--tag", "vip", "--tag", "de", "--channel", "telegram", "--sender", "123456789") == [TELEGRAM]
    assert found(cli, "--tag", "vip", "--channel", "whatsapp") == []
    assert found(cli, "--title", "tg ali") == [TELEGRAM]
    assert found(cli, "--agent", "work") == []


def test_search_tells_pinned_from_others(cli) -> None:
    cli("pin", TELEGRAM)
    assert found(cli, "--pinned") == [TELEGRAM]
    assert len(found(cli, "--not-pinned")) == 10
    assert len(found(cli)) == 11


@pytest.mark.parametrize(
    "at", ["2026-11-20T10:08:10.837Z", "2026-11-20T10:08:10.837", "2026-11-20T11:08:10.837+01:00", "1795169290837"]
)
def test_search_reads_times_as_people_and_programs_write_them(cli, at: str) -> None:
    since, before = found(cli, "--since", at), found(cli, "--before", at)
    assert (since[-1], len(since) + len(before)) == (TELEGRAM, 11)


def test_search_shows_people_a_table_or_a_word(cli) -> None:
    assert cli("search", "--tag", "none").stderr == "No sessions.\n"
    assert cli("search", "--limit", "2").stdout.startswith("KEY ")


def test_counts_and_statistics_are_those_of_the_list(cli) -> None:
    cli("archive", TELEGRAM)
    assert [cli("count", *more).stdout for more in ((), ("--status", "archived"), ("--status", "all"))] == [
        "10\n",
        "1\n",
        "11\n",
    ]
    assert json.loads(cli("count", "--agent", "work", "--json").stdout) == {"count": 1}
    assert json.loads(cli("stats", "--json").stdout) == {"active": 10, "archived": 1, "expired": 0, "archives": 3}
    assert "Archived:   1\n" in cli("stats").stdout


def test_invalidate_deletes_and_says_how_many(cli) -> None:
    assert cli("invalidate", "--channel", "telegram", "--yes").stdout == "1 session deleted\n"
    assert cli("exists", TELEGRAM).exit_code == 1
    assert json.loads(cli("invalidate", "--agent", "main", "--yes", "--json").stdout) == {"invalidated": 9}
    assert cli("count").stdout == "1\n"


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", 10), (b"n\n", 11), (b"\n", 11), (b"", 11)])
def test_invalidate_asks_unless_told_not_to(cli, answer: bytes, left: int) -> None:
    result = cli("invalidate", "--channel", "telegram", "--json", stdin=answer)
    assert (result.exit_code, result.stdout == "") == ((0, False) if left == 10 else (1, True))
    assert "Delete 1 sessions" in result.stderr
    assert "channel telegram" in result.stderr
    assert cli("count").stdout == f"{left}\n"


def test_sweep_says_how_many_had_expired(cli) -> None:
    assert cli("sweep").stdout == "0 expired sessions swept\n"
    assert json.loads(cli("sweep", "--limit", "5", "--json").stdout) == {"swept": 0}


def test_health_says_in_words_and_by_status_whether_the_store_can_be_used(cli, state_dir: Path) -> None:
    assert cli("health").exit_code == 0
    told = json.loads(cli("health", "--json").stdout)
    assert (told["ok"], told["reason"]) == (True, None)
    away = ["--store", "redis://127.0.0.1:1?operation_timeout=1&connect_timeout=1", "health"]
    result = click.testing.CliRunner().invoke(main, [*away, "--json"])
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (4, False)
    assert "127.0.0.1:1" in click.testing.CliRunner().invoke(main, away).stdout


# -- the feed -------------------------------------------------------------------------------------


def batch(printed: str) -> tuple[list[tuple[str, str]], str]:
    """Return the changes, and the last cursor."""
    lines = [json.loads(line) for line in printed.splitlines()]
    changes = [(line["operation"], line["key"]) for line in lines if "operation" in line]
    return changes, next(line["cursor"] for line in reversed(lines) if "cursor" in line)


@pytest.fixture
def noticed(cli) -> None:
    """Let the feed of OpenClaw's own files tell of what was there before: it does so once, at the first look."""
    _, cursor = batch(cli("changes", "--json").stdout)
    cli("put", "first", stdin=b"{}")
    cli("changes", "--from", cursor)


@pytest.mark.usefixtures("noticed")
def test_changes_go_on_from_where_one_left_off(cli) -> None:
    nothing, cursor = batch(cli("changes", "--json").stdout)
    cli("put", "k", stdin=b"{}")
    cli("pin", "k")
    changes, later = batch(cli("changes", "--json", "--from", cursor).stdout)
    assert (nothing, changes) == ([], [("set", "k"), ("mark", "k")])
    cli("delete", "k")
    assert batch(cli("changes", "--json", "--from", later).stdout)[0] == [("delete", "k")]
    assert batch(cli("changes", "--json", "--from", cursor).stdout)[0] == [*changes, ("delete", "k")]


@pytest.mark.usefixtures("noticed")
def test_changes_tell_people_what_and_where_to_go_on(cli) -> None:
    before = cli("changes")
    cursor = before.stderr.removeprefix("cursor: ").strip()
    cli("put", "k", stdin=b"{}")
    after = cli("changes", "--from", cursor)
    assert (before.stdout, after.stdout) == ("", "set      main/k, revision 1\n")
    assert after.stderr.startswith("cursor: ")
    assert after.stderr != before.stderr


@pytest.mark.parametrize("cursor", ["nonsense", ""])
def test_a_cursor_that_is_none_is_wrong_use(cli, cursor: str) -> None:
    result = cli("changes", "--from", cursor)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.usefixtures("noticed")
def test_changes_are_followed_until_interrupted(state_dir: Path) -> None:
    command = [sys.executable, "-m", "sessionstore", "--store", f"file://{state_dir}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command, "changes", "--follow", "--json"], stdout=pipe, stderr=pipe, cwd=ROOT, text=True,
        # A run of the tests in the background ignores the signal, and what it starts would as well.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as following:  # fmt: skip
        try:
            assert following.stdout is not None
            assert "cursor" in json.loads(following.stdout.readline())
            subprocess.run([*command, "put", "k"], input=b"{}", check=True, cwd=ROOT, timeout=DEADLINE_S, stdout=pipe)
            change = {"key": "k", "agent": "main", "revision": 1, "operation": "set"}
            assert json.loads(following.stdout.readline()) == change
            assert "cursor" in json.loads(following.stdout.readline())
            following.send_signal(signal.SIGINT)
            printed, errors = following.communicate(timeout=DEADLINE_S)
            assert (following.returncode, printed, errors) == (130, "", "")
        finally:
            following.kill()


def test_wrong_use_is_status_2(cli) -> None:
    for arguments in (
        ("invalidate",),
        ("search", "--since", "soon"),
        ("search", "--limit", "0"),
        ("sweep", "--limit", "0"),
    ):
        assert cli(*arguments).exit_code == 2
