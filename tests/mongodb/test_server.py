"""The server that the other tests run on: what they rely on when they kill it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.mongo_server import MongoServer


def test_what_was_acknowledged_is_there_after_both_programs_were_killed(own_server: MongoServer) -> None:
    with own_server.admin() as admin:
        admin.things.numbers.insert_many([{"_id": number} for number in range(100)])
    own_server.ferretdb.kill()
    own_server.postgres.kill()

    own_server.postgres.start()
    own_server.ferretdb.start()
    own_server.wait()

    with own_server.admin() as admin:
        assert admin.things.numbers.count_documents({}) == 100


def test_nothing_is_left_running_when_the_tests_are_killed(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from tests import mongo_server\n"
        "with mongo_server.running(pathlib.Path(sys.argv[1])) as server:\n"
        "    print(server.port, flush=True)\n"
        "    time.sleep(600)\n"
    )
    tests = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "server")], stdout=subprocess.PIPE, text=True
    )
    assert tests.stdout is not None
    port = tests.stdout.readline().strip()
    assert _mentions(f"127.0.0.1:{port}")

    tests.kill()
    tests.wait()
    tests.stdout.close()

    end = time.monotonic() + 30
    while _mentions(f"127.0.0.1:{port}") and time.monotonic() < end:
        time.sleep(0.05)
    assert not _mentions(f"127.0.0.1:{port}")


def _mentions(text: str) -> list[int]:
    """Find processes by their arguments."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal() and int(directory.name) != os.getpid():
            try:
                arguments = (directory / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in arguments:
                found.append(int(directory.name))
    return found
