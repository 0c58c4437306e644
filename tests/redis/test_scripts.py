"""The probes' scripts, run by `sh` with a real redis-cli against servers in each state."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from sessionstore.engines.redis import scripts
from tests.redis import servers
from tests.redis.builders import a_store, passwords_for
from tests.redis.test_probe import loading

STORE, PASSWORDS = a_store(), passwords_for()


@pytest.fixture
async def server(binary: str, tmp_path: Path):
    async with servers.serving(binary, tmp_path / "data", STORE, PASSWORDS) as running:
        yield running


def _alive(server: servers.Running) -> subprocess.CompletedProcess[str]:
    return _sh(scripts.alive_script(server.endpoint.port))


def _ready(server: servers.Running, password_file: Path | None = None, **options) -> subprocess.CompletedProcess[str]:
    file = password_file or server.directory / "health"
    return _sh(scripts.ready_script(server.endpoint.port, "_health", str(file)), **options)


def _sh(script: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60, **options)


async def test_a_server_that_serves_is_alive_and_ready(server) -> None:
    assert (_alive(server).returncode, _ready(server).returncode) == (0, 0)
    assert _alive(server).stdout + _ready(server).stdout == ""


async def test_a_server_that_reads_its_data_is_alive_and_not_ready(binary, tmp_path) -> None:
    with loading(binary, tmp_path / "data") as running:
        while "refused" in _alive(running).stdout:
            assert running.process.poll() is None, running.log
        alive, ready = _alive(running), _ready(running)

    assert alive.returncode == 0
    assert ready.returncode == 1
    assert "LOADING" in ready.stdout


async def test_a_wrong_password_is_alive_and_not_ready(server, tmp_path) -> None:
    wrong = tmp_path / "health"
    wrong.write_text("pw-of-nobody")

    ready = _ready(server, wrong)

    assert _alive(server).returncode == 0
    assert ready.returncode == 1
    assert "WRONGPASS" in ready.stdout
    assert "pw-of-nobody" not in ready.stdout + ready.stderr


@pytest.mark.parametrize("text", [pytest.param("", id="empty"), pytest.param(None, id="missing")])
async def test_no_password_is_not_ready_and_says_which_file(server, tmp_path, text) -> None:
    file = tmp_path / "health"
    if text is not None:
        file.write_text(text)

    ready = _ready(server, file)

    assert ready.returncode == 1
    assert str(file) in ready.stdout


async def test_a_password_file_with_a_line_end_is_read_too(server, tmp_path) -> None:
    file = tmp_path / "health"
    file.write_text(PASSWORDS["_health"] + "\n")

    assert _ready(server, file).returncode == 0


async def test_a_server_that_is_gone_is_neither_and_says_so(binary, tmp_path) -> None:
    async with servers.serving(binary, tmp_path / "data", STORE, PASSWORDS) as running:
        pass

    assert (_alive(running).returncode, _ready(running).returncode) == (1, 1)
    assert "refused" in _alive(running).stdout


async def test_a_server_that_hangs_gets_no_answer_from_the_script(server) -> None:
    """The kubelet's own timeout ends it: redis-cli of 7.0 has none."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(["/bin/sh", "-c", scripts.alive_script(server.endpoint.port)], timeout=2, check=False)
    finally:
        server.process.send_signal(signal.SIGCONT)


async def test_the_password_is_in_no_process_of_the_script(server, tmp_path) -> None:
    """With a PATH that holds redis-cli alone: what else the script does, the shell does itself."""
    real, seen = shutil.which("redis-cli"), tmp_path / "seen"
    recorder = tmp_path / "bin" / "redis-cli"
    recorder.parent.mkdir()
    recorder.write_text(f'#!/bin/sh\n{{ echo "$0 $@"; export -p; }} >> {seen}\nexec {real} "$@"\n')
    recorder.chmod(0o755)

    ready = _ready(server, env={"PATH": str(recorder.parent)})

    assert (ready.returncode, ready.stderr) == (0, "")
    assert f"-p {server.endpoint.port}" in seen.read_text()
    assert PASSWORDS["_health"] not in seen.read_text()
