"""Races of writers, each on a sheet of its own, and what must have come of them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tests.bridge.pods import DEADLINE_S, Entries, Pod, settle, wait_until
from tests.bridge.writer import COUNTED, key_of, update

Command = Callable[[Pod], list[str]]
LEAD_S, KILL_S = 1.0, 0.35


def python_writer(pod: Pod) -> list[str]:
    """Return how the writer that needs no OpenClaw is started."""
    return [sys.executable, "-m", "tests.bridge.writer"]


def race(pods: Sequence[Pod], work: str, count: int, command: Command = python_writer, *, kills: bool = False) -> None:
    """Have one writer a pod work at once; what each had made it must have found again.

    Args:
        kills: kill a bridge by chance, now and then, and start it anew.
    """
    start = f"{time.time() + LEAD_S:.3f}"
    writers = [
        subprocess.Popen([*command(pod), str(pod.sheet), pod.name, str(count), work, start], stdout=subprocess.PIPE)
        for pod in pods
    ]
    try:
        end = time.monotonic() + DEADLINE_S
        while any(writer.poll() is None for writer in writers):
            assert time.monotonic() < end, "\n".join(pod.told()[-4000:] for pod in pods)
            time.sleep(KILL_S if kills else 0.05)
            if kills:
                restart(random.choice(pods))
        for writer in writers:
            missing, _ = writer.communicate()
            assert (writer.returncode, json.loads(missing)) == (0, [])
    finally:
        for writer in writers:
            with writer:
                writer.kill()


def restart(pod: Pod) -> None:
    pod.kill()
    pod.start()


def check_created(pods: Sequence[Pod], count: int) -> None:
    """Everything that was made is everywhere, with its second change."""
    found = settle(pods)
    expected = {key_of(pod.name, number) for pod in pods for number in range(count)}
    assert set(found) == expected
    assert {key for key, entry in found.items() if entry["n"] != 1} == set()


def check_churned(pods: Sequence[Pod], count: int) -> None:
    """What was deleted is nowhere, all else is everywhere."""
    found = settle(pods)
    deleted = {number - 1 for number in range(count) if number % 4 == 3}
    kept = {key_of(pod.name, number) for pod in pods for number in range(count) if number not in deleted}
    assert set(found) == kept


def share_counter(pods: Sequence[Pod]) -> None:
    """Make the session that all count up in, and wait until all have it."""

    def make(entries: Entries) -> None:
        entries[COUNTED] = {"sessionId": "counted", "updatedAt": 1_795_000_000_000, "compactionCount": 0}

    update(pods[0].sheet, make)
    wait_until(lambda: all(COUNTED in pod.entries() for pod in pods), *pods)


def check_counted(pods: Sequence[Pod], count: int) -> None:
    """Each writer's own count is right, and so is the count of all."""
    entry = settle(pods)[COUNTED]
    assert {pod.name: entry[f"by-{pod.name}"] for pod in pods} == {pod.name: count for pod in pods}
    assert entry["compactionCount"] == count * len(pods)
