"""The session commands as they are typed: what they print, where, and their exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click.testing
import pytest

from sessionstore.cli.main import main
from tests.cli.commands import one_line
from tests.conftest import ROOT

WORK = "agent:work:main"


def console_blocks() -> Sequence[str]:
    return re.findall(r"```console\n(.*?)```", (ROOT / "docs" / "cli.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", console_blocks(), ids=lambda block: block.splitlines()[0][2:50])
def test_the_documented_examples_are_what_is_printed(block: str, state_dir: Path, tmp_path: Path) -> None:
    program = tmp_path / "sessionstore"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m sessionstore "$@"\n')
    program.chmod(0o755)
    environ = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SESSION_STORAGE_BACKEND": "file",
        "SESSION_STORAGE_STATE_DIR": str(state_dir),
        "COLUMNS": "70",
    }
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
        done = subprocess.run(["sh", "-c", command], env=environ, capture_output=True, text=True, check=False)
        printed = "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())
        assert (printed, done.stderr, done.returncode) == (expected, "", 0)


def test_list_prints_every_session_as_an_object_a_line(cli) -> None:
    result = cli("list", "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert (len(rows), sum(row["lines"] for row in rows)) == (11, 26)
    assert {"key", "sessionId", "agent", "status", "lines", "revision", "updatedAt"} <= rows[0].keys()
    assert [row["updatedAt"] for row in rows] == sorted((row["updatedAt"] for row in rows), reverse=True)


def test_list_fits_into_eighty_columns_and_hides_nothing(cli) -> None:
    result = cli("list")
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    keys = [json.loads(line)["key"] for line in cli("list", "--json").stdout.splitlines()]
    shown = "".join(line[:31].strip() for line in result.stdout.splitlines()[1:])
    assert [key for key in keys if key.replace(" ", "") not in shown.replace(" ", "")] == []


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (2, 2), (11, 11), (99, 11)])
def test_list_stops_at_the_limit(cli, limit: int, count: int) -> None:
    assert len(cli("list", "--json", "--limit", str(limit)).stdout.splitlines()) == count


@pytest.mark.parametrize(("status", "count"), [("active", 10), ("archived", 1)])
def test_list_tells_active_from_archived(cli, status: str, count: int) -> None:
    assert cli("archive", WORK).exit_code == 0
    assert len(cli("list", "--json", "--status", status).stdout.splitlines()) == count


def test_list_of_nothing_prints_nothing_for_programs_and_a_word_for_people(cli) -> None:
    assert (cli("list", "--agent", "nobody", "--json").stdout, cli("list", "--agent", "nobody").exit_code) == ("", 0)
    assert cli("list", "--agent", "nobody").stderr == "No sessions.\n"


@pytest.mark.parametrize("entry", [b'{"b":1e2,"a":9007199254740993,"c":"\\ud800"}', '{"ключ":"空"}'.encode(), b"{}"])
def test_get_prints_the_entry_as_it_was_put(cli, entry: bytes) -> None:
    assert cli("put", "k", stdin=entry).exit_code == 0
    assert cli("get", "k", "--json").stdout_bytes == entry + b"\n"


def test_get_shows_people_the_entry_and_what_the_store_knows(cli) -> None:
    printed = cli("get", WORK).stdout
    assert "Revision:   1\n" in printed
    assert '  "sessionId": "5b5e1979-61f4-46b6-88a5-97938d77d5ae",\n' in printed


def test_transcript_prints_the_stored_bytes(cli, state_dir: Path) -> None:
    file = next((state_dir / "agents" / "work" / "sessions").glob("*.jsonl"))
    with file.open("ab") as appended:
        appended.write(b"\xff\x00 not json\r\n\n")
    assert cli("transcript", WORK, "--raw").stdout_bytes == file.read_bytes()
    numbers = [json.loads(line)["number"] for line in cli("transcript", WORK, "--json").stdout.splitlines()]
    assert numbers == [0, 1, 2]
    assert "not json" in cli("transcript", WORK).stdout


def test_a_long_transcript_is_printed_whole(cli, state_dir: Path) -> None:
    file = next((state_dir / "agents" / "work" / "sessions").glob("*.jsonl"))
    file.write_bytes(b"".join(b"%d\n" % number for number in range(2500)))
    assert cli("transcript", WORK, "--raw").stdout_bytes == file.read_bytes()


def test_put_reads_a_file_and_keeps_to_the_expected_revision(cli, tmp_path: Path) -> None:
    (tmp_path / "entry.json").write_bytes(b'{"n":1}')
    assert cli("put", "k", str(tmp_path / "entry.json"), "--expected", "0").exit_code == 0
    lost = cli("put", "k", str(tmp_path / "entry.json"), "--expected", "0")
    assert (lost.exit_code, one_line(lost.stderr)) == (1, True)
    assert "at revision 1, not 0" in lost.stderr


def test_the_agent_is_the_key_s_own_unless_it_is_said(cli) -> None:
    assert cli("exists", WORK).exit_code == 0
    assert cli("exists", WORK, "--agent", "main").exit_code == 1


def test_delete_leaves_nothing_to_get(cli) -> None:
    assert cli("delete", WORK).exit_code == 0
    assert [cli(command, WORK).exit_code for command in ("get", "exists", "delete", "transcript")] == [1, 1, 1, 1]


ABSENT = [("get", "nope"), ("delete", "nope"), ("transcript", "nope"), ("put", "k", "--expected", "3")]
MISUSED = [
    ("get",), ("get", "a\0b"), ("get", "k" * 4097), ("list", "--limit", "0"), ("put", "k", "/nowhere"), ("nonsense",),
    ("transcript", WORK, "--raw", "--json"), ("get", "k", "--agent", ".."),
]  # fmt: skip


@pytest.mark.parametrize("arguments", ABSENT, ids=" ".join)
def test_what_is_not_there_fails_with_one_line_and_status_1(cli, arguments: tuple[str, ...]) -> None:
    result = cli(*arguments, stdin=b"{}")
    assert (result.exit_code, result.stdout, one_line(result.stderr)) == (1, "", True)


@pytest.mark.parametrize("arguments", MISUSED, ids=lambda arguments: " ".join(arguments)[:30])
def test_wrong_use_is_status_2(cli, arguments: tuple[str, ...]) -> None:
    result = cli(*arguments, stdin=b"{}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


@pytest.mark.parametrize(
    ("url", "status", "message"),
    [
        pytest.param("redis://:secret@h", 2, "password_file", id="a password in the URL"),
        pytest.param("mysql://h", 2, "mysql://", id="a store that is not known"),
        pytest.param("/a/dir", 2, "file:///", id="a path"),
        pytest.param("redis://127.0.0.1:1?operation_timeout=5", 4, "127.0.0.1:1", id="nobody there"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_in_one_line(url: str, status: int, message: str) -> None:
    result = click.testing.CliRunner().invoke(main, ["--store", url, "list"])
    assert (result.exit_code, result.stdout, one_line(result.stderr)) == (status, "", True)
    assert message in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize("command", [("exists", "k"), ("get", "k"), ("pin", "k"), ("delete", "k"), ("count",)])
def test_an_outage_is_told_apart_from_an_absence(cli, command: tuple[str, ...]) -> None:
    away = ["--store", "redis://127.0.0.1:1?operation_timeout=1&connect_timeout=1", *command]
    assert click.testing.CliRunner().invoke(main, away).exit_code == 4
    assert cli(*command).exit_code == (0 if command == ("count",) else 1)


def test_what_cannot_be_read_is_told_apart_from_an_absence(cli, state_dir: Path) -> None:
    (state_dir / "agents" / "work" / "sessions" / "sessions.json").write_bytes(b"{torn")
    result = cli("exists", WORK)
    assert (result.exit_code, result.stdout, one_line(result.stderr)) == (4, "", True)


def test_a_named_configuration_that_is_not_there_is_never_answered_with_files(state_dir: Path) -> None:
    environ = {"SESSION_STORAGE_CONFIG": "/nowhere/session_storage.yaml", "OPENCLAW_STATE_DIR": str(state_dir)}
    result = click.testing.CliRunner().invoke(main, ["list"], env=environ)
    assert (result.exit_code, result.stdout, one_line(result.stderr)) == (2, "", True)


def test_terminal_escapes_in_a_key_are_shown_and_not_obeyed(cli) -> None:
    cli("put", "evil\x1b[2J[bold]key", stdin=b'{"sessionId":"\\u001b[2J"}')
    for result in (cli("list"), cli("get", "evil\x1b[2J[bold]key"), cli("get", "no\x1b[2Jne")):
        assert "\x1b" not in result.output
    assert "[bold]key" in cli("list").stdout


def test_a_reader_that_stops_early_is_no_error(state_dir: Path) -> None:
    file = next((state_dir / "agents" / "work" / "sessions").glob("*.jsonl"))
    file.write_bytes(b"x" * 100 + b"\n" + b"y\n" * 200_000)
    command = f"{sys.executable} -m sessionstore --store file://{state_dir} transcript {WORK} --raw | head -c 5"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, cwd=ROOT)
    assert (done.stdout, done.stderr) == (b"xxxxx", b"")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("list",), 0),
        (("stats",), 0),
        (("transcript", WORK), 0),
        (("exists", WORK), 0),
        (("exists", "agent:main:none"), 1),
        (("exists", "agent:main:none", "--json"), 1),
    ],
)
def test_a_reader_that_is_gone_changes_no_status(state_dir: Path, arguments: tuple[str, ...], status: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "sessionstore", "--store", f"file://{state_dir}", *arguments]
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, cwd=ROOT)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (status, b"")
