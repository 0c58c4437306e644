"""How waits end: with the answer, or with a message that tells what was waited for and what came instead."""

from __future__ import annotations

import pathlib

import pytest

from . import command
from .kubectl import Kubectl

KUBECTL = Kubectl(pathlib.Path("kubectl-that-is-not-run"), pathlib.Path("no-such-kubeconfig"))


def test_a_wait_returns_the_first_true_answer() -> None:
    answers = iter(
        [None, [], command.CommandError(["kubectl"], "ended with status 1", "(NotFound)"), ["pod"], ["late"]]
    )

    def condition() -> list[str] | None:
        answer = next(answers)
        if isinstance(answer, command.CommandError):
            raise answer
        return answer

    assert KUBECTL.wait_for(condition, 60, "a pod") == ["pod"]


def test_a_wait_that_fails_says_what_for_and_the_last_answer() -> None:
    with pytest.raises(AssertionError, match=r"timed out after 0 s waiting for three pods; last answer: \[\]"):
        KUBECTL.wait_for(list, 0, "three pods")


def test_a_wait_that_fails_says_the_last_refusal() -> None:
    def refused() -> str:
        raise command.CommandError(["kubectl", "get", "pod"], "ended with status 1", "connection refused")

    with pytest.raises(AssertionError, match=r"(?s)`kubectl get pod` ended with status 1.connection refused"):
        KUBECTL.wait_for(refused, 0, "a pod")


def test_a_failing_program_is_reported_with_its_command_and_its_words() -> None:
    with pytest.raises(command.CommandError, match=r"(?s)`sh -c .*` ended with status 3.*no such thing") as caught:
        command.run(["sh", "-c", "echo no such thing >&2; exit 3"])
    assert caught.value.stderr == "no such thing\n"


def test_a_program_that_does_not_end_is_killed_and_reported() -> None:
    with pytest.raises(command.CommandError, match=r"did not end within 0\.05 s"):
        command.run(["sleep", "60"], timeout_s=0.05)
