"""The commands: exit status, the last words a Job leaves, and messages that say what to do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from sessionstore.cli import main
from sessionstore.migrate import pipeline
from sessionstore.openclaw.problems import SourceError
from sessionstore.openclaw.tree import Tree
from tests import redis_server
from tests.migrate.conftest import command, run
from tests.migrate.states import HEADER, State

NOBODY = 65534


def test_last_words_are_compact_and_whole(real: Path, url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 5000)

    run("migrate", real, "--to", url, "--termination-log", log)

    words = json.loads(log.read_bytes())
    seconds, digest = words.pop("seconds"), words.pop("digest")
    assert seconds > 0 and len(digest) == 64
    assert words == {
        "outcome": "Verified", "sessions": 11, "lines": 26, "bytes": 40679, "archives": 3, "migrated": 11, "present": 0,
        "conflicts": 0, "quarantined": 0, "problems": 0, "mismatches": 0, "reason": None, "message": None,
    }  # fmt: skip


def test_a_plan_leaves_its_counts_as_last_words(real: Path, url: str, tmp_path: Path) -> None:
    run("migrate", real, "--to", url, "--dry-run", "--termination-log", tmp_path / "log")

    words = json.loads((tmp_path / "log").read_bytes())
    assert (words["outcome"], words["sessions"], words["migrated"]) == ("Planned", 11, 11)


@pytest.mark.parametrize(
    ("folder", "reason", "hint"),
    [
        pytest.param("nowhere", "PathNotFound", "does not exist; check the path within the volume", id="absent"),
        pytest.param("file", "NotADirectory", "name OpenClaw's state directory", id="a file"),
        pytest.param("empty", "NothingFound", "it has no agents/", id="no state directory"),
        pytest.param("config", "NothingFound", "it has no agents/", id="a configuration alone"),
        pytest.param("linked", "NothingFound", "agents is a symbolic link", id="agents that are a link"),
        pytest.param("moved", "UnsupportedLayout", "/srv/sessions.json", id="sessions in a file out of reach"),
        pytest.param("home", "NothingFound", "did you mean", id="the directory above"),
    ],
)
def test_what_cannot_be_a_source_fails_with_a_reason(
    tmp_path: Path, url: str, folder: str, reason: str, hint: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "home" / ".openclaw").mkdir(parents=True)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "openclaw.json").write_text("{}")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "agents").symlink_to(tmp_path / "moved" / "agents")
    (tmp_path / "moved" / "agents" / "main" / "sessions").mkdir(parents=True)
    (tmp_path / "moved" / "openclaw.json").write_text("{session: {store: '/srv/sessions.json'}}")
    (tmp_path / "file").touch()

    answer = run("migrate", tmp_path / folder, "--to", url, "--termination-log", tmp_path / "log")

    words = json.loads((tmp_path / "log").read_bytes())
    assert (answer.status, answer.document["reason"], words["reason"], words["outcome"]) == (
        1,
        reason,
        reason,
        "Failed",
    )
    assert hint in words["message"] and hint in answer.stderr and "Traceback" not in answer.stderr


def test_a_state_directory_without_sessions_is_done_at_once(tmp_path: Path, url: str) -> None:
    (tmp_path / "state" / "agents").mkdir(parents=True)
    (tmp_path / "state" / "openclaw.json").write_text("{}")

    answer = run("migrate", tmp_path / "state", "--to", url)

    assert (answer.status, answer.document["outcome"], answer.document["sessions"]) == (0, "Verified", 0)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("migrate", "--to", "memory://"), id="no directory"),
        pytest.param(("migrate", ".", "--conflicts", "Oldest"), id="an unknown policy"),
        pytest.param(("migrate", ".", "--store-timeout", "soon"), id="no duration"),
        pytest.param(("migrate", ".", "--source-name", "../x"), id="a source name that is a path"),
        pytest.param(("verify", ".", "--against", "nothing://"), id="an unknown store"),
    ],
)
def test_wrong_use_ends_with_2(arguments: tuple[str, ...], state: State) -> None:
    answer = run(*(str(state.root) if argument == "." else argument for argument in arguments))

    assert answer.status == 2, answer.stderr


def test_a_configuration_that_cannot_be_used_ends_with_2(state: State) -> None:
    answer = run("migrate", state.root, "--to", "redis://:secret@127.0.0.1")

    assert (answer.status, answer.document["reason"]) == (2, "InvalidConfiguration")
    assert "password_file" in answer.stderr


def test_a_source_is_never_its_own_store(state: State) -> None:
    state.session("k")

    answer = run("migrate", state.root, "--to", f"file://{state.root}")

    assert (answer.status, answer.document["reason"]) == (2, "InvalidConfiguration")
    assert "would be its own store" in answer.stderr


def test_set_aside_ends_with_3_and_for_a_job_with_0(state: State, url: str) -> None:
    state.session("k", lines=None)

    assert run("migrate", state.root, "--to", url).status == 3
    assert run("migrate", state.root, "--to", url, "--set-aside-is-done").status == 0


def test_a_conflict_ends_with_3_and_under_fail_with_1(state: State, url: str) -> None:
    state.session("k", updatedAt=1)
    run("migrate", state.root, "--to", url)
    state.session("k", lines=b"{}\n", sessionId="id-0", updatedAt=1)

    assert run("migrate", state.root, "--to", url, "--conflicts", "Fail").document["reason"] == "ConflictsFound"
    assert run("migrate", state.root, "--to", url, "--conflicts", "KeepStore").status == 3


def test_a_source_that_also_keeps_sessions_elsewhere_is_not_half_migrated(state: State, url: str) -> None:
    state.session("k")
    (state.root / "openclaw.json").write_text('{"session": {"store": "/srv/{agentId}/sessions.json"}}')

    assert run("inspect", state.root).status == 3
    assert run("migrate", state.root, "--to", url, "--dry-run").document["reason"] == "UnsupportedLayout"
    answer = run("migrate", state.root, "--to", url)
    assert (answer.status, answer.document["reason"]) == (1, "UnsupportedLayout")
    assert run("list", "--store", url).document == {}


def test_a_source_of_which_only_the_rotated_index_is_left_is_migrated(state: State, url: str) -> None:
    state.session("k")
    (state.folder / "sessions.json").rename(state.folder / "sessions.json.bak.1795169290837")

    answer = run("migrate", state.root, "--to", url)

    assert (answer.status, answer.document["migrated"], answer.document["lines"]) == (0, 1, 1)


def test_an_orphan_that_a_store_of_files_has_no_name_for_ends_nothing(state: State, tmp_path: Path) -> None:
    state.session("k")
    state.file("lost.jsonl", HEADER + b"\n")

    answer = run("migrate", state.root, "--to", f"file://{tmp_path}/target")
    proof = run("verify", state.root, "--against", f"file://{tmp_path}/target")

    assert (answer.status, answer.document["outcome"], answer.document["migrated"]) == (3, "Verified", 1)
    assert [(p["path"], p["reason"]) for p in answer.document["problems"]] == [
        ("agents/main/sessions/lost.jsonl", "InvalidKey")
    ]
    assert [(m["kind"], m["name"]) for m in proof.document["mismatches"]] == [("archive", "lost.jsonl")]


def test_the_side_that_loses_needs_a_place_to_be_kept(state: State, tmp_path: Path) -> None:
    state.session("k", updatedAt=1)
    run("migrate", state.root, "--to", f"file://{tmp_path}/target")
    state.session("k", lines=b"{}\n", sessionId="id-0", updatedAt=1)

    answer = run("migrate", state.root, "--to", f"file://{tmp_path}/target", "--conflicts", "KeepSource")

    assert (answer.status, answer.document["reason"]) == (1, "CannotKeep")


def test_a_store_that_stays_away_fails_and_says_so(state: State, tmp_path: Path) -> None:
    state.session("k")

    answer = run(
        "migrate",
        state.root,
        "--to",
        "redis://127.0.0.1:1",
        "--store-timeout",
        0,
        "--termination-log",
        tmp_path / "log",
    )

    words = json.loads((tmp_path / "log").read_bytes())
    assert (answer.status, words["outcome"], words["reason"]) == (1, "Failed", "StoreUnavailable")
    assert "127.0.0.1:1" in words["message"]


def test_a_store_that_comes_back_is_waited_for(real: Path, tmp_path: Path) -> None:
    with redis_server.running(tmp_path / "redis") as server:
        url = server.url(server.add_user("back")).replace("operation_timeout=40", "operation_timeout=0.5")
        server.process.send_signal(signal.SIGSTOP)
        program = command("migrate", real, "--to", url, "--store-timeout", "10m")
        with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            told = next(line for line in process.stderr if b"the store is away" in line)
            server.process.send_signal(signal.SIGCONT)
            process.stderr.read()

    assert b"trying again" in told
    assert process.returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_killed_job_leaves_its_reason(real: Path, tmp_path: Path, number: int, status: int) -> None:
    with redis_server.running(tmp_path / "redis") as server:
        url = server.url(server.add_user("killed"))
        server.process.send_signal(signal.SIGSTOP)
        log = tmp_path / "log"
        os.mkfifo(tmp_path / "ready")
        program = command("migrate", real, "--to", url, "--termination-log", log)
        process = subprocess.Popen(
            program,
            stderr=subprocess.PIPE,
            # Where the tests run in the background, programs are born ignoring SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while not (log.exists() and log.read_bytes()):
            assert process.poll() is None
        process.send_signal(number)
        said = process.communicate()[1]
        ended = process.returncode
        server.process.send_signal(signal.SIGCONT)

    assert ended == status
    assert number is signal.SIGKILL or said.endswith(b"ended before it was done; a further run goes on from there\n")
    assert json.loads(log.read_bytes())["reason"] == "Interrupted"


def test_a_reader_that_has_seen_enough_ends_it_in_silence(real: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command("inspect", real), stdout=writing, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, b"")


def test_a_server_that_wants_a_password_is_told_in_a_line(real: Path, tmp_path: Path) -> None:
    with redis_server.running(tmp_path / "redis") as server:
        with server.admin() as admin:
            admin.config_set("requirepass", "sesame")
        nobody = f"redis://127.0.0.1:{server.port}?keyspace=chat"
        done = subprocess.run(
            command("migrate", real, "--to", nobody, "--store-timeout", "3s"),
            capture_output=True,
            timeout=120,
            check=False,
        )

    assert done.returncode == 1
    *lines, last = done.stderr.splitlines()
    assert b"the server asks for a password (check the username and the password file)" in last
    assert sum(b"asks for a password" in line for line in lines) == 1
    assert any(b"still away" in line for line in lines)


def test_a_fault_of_ours_leaves_its_reason_and_no_interruption(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(*arguments: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(pipeline, "migrate", break_down)
    before = signal.getsignal(signal.SIGTERM)
    try:
        arguments = ["migrate", str(state.root), "--to", "memory://", "--termination-log", str(tmp_path / "log")]
        answer = CliRunner().invoke(main.main, [*arguments, "--json"])
    finally:
        signal.signal(signal.SIGTERM, before)

    words = json.loads((tmp_path / "log").read_bytes())
    assert (answer.exit_code, words["reason"], json.loads(answer.stdout)["reason"]) == (1, *["InternalError"] * 2)
    assert "nobody thought of this" in words["message"]


def test_a_file_that_may_not_be_read_ends_everything(state: State) -> None:
    state.session("k")
    (state.folder / "id-0.jsonl").chmod(0)

    with Tree(state.root) as tree, _without_rights(), pytest.raises(SourceError) as caught:
        tree.open("agents/main/sessions/id-0.jsonl", 1000)

    assert caught.value.reason == "PermissionDenied"
    assert "run as" in str(caught.value)


def test_people_get_a_table_and_the_problems(state: State, url: str) -> None:
    state.session("k", lines=HEADER + b"\n{")

    done = subprocess.run(command("migrate", state.root, "--to", url), capture_output=True, check=False, text=True)

    assert done.returncode == 3
    assert "Verified: sessions.json, 1 agent" in done.stdout
    assert "TornLastLine: agents/main/sessions/id-0.jsonl at byte 31 (main/k)" in done.stdout
    assert "1 thing that was set aside is kept under migration/default/" in done.stdout


@contextlib.contextmanager
def _without_rights() -> Iterator[None]:
    """Give up root's right to read everything, where we are root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
