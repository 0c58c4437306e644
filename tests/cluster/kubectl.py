"""kubectl, as the tests and the demo call it: text or JSON out, errors that name the command, waits with deadlines."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from . import command

T = TypeVar("T")

POLL_S = 0.25
FIELD_MANAGER = "sessionstore-tests"


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl against one cluster, whatever the user's own configuration says."""

    program: pathlib.Path
    kubeconfig: pathlib.Path

    def __call__(self, *arguments: str, input: str | None = None, timeout_s: float = 120) -> str:
        """Run kubectl and return what it printed.

        Raises: CommandError; its `stderr` says what the API server answered.
        """
        return command.run(
            [str(self.program), *arguments],
            stdin=input,
            environment={"KUBECONFIG": str(self.kubeconfig)},
            timeout_s=timeout_s,
        )

    def json(self, *arguments: str) -> Any:
        """Run kubectl with `-o json` and return the parsed document."""
        return json.loads(self(*arguments, "-o", "json"))

    def apply(self, manifest: str, *, namespace: str | None = None, server_side: bool = False) -> str:
        """Apply a YAML text of one or more documents, as a person would (client-side) or as controllers do.

        Raises: CommandError; its `stderr` holds the message of a refused admission.
        """
        scope = ["--namespace", namespace] if namespace else []
        manner = ["--server-side", f"--field-manager={FIELD_MANAGER}"] if server_side else []
        return self("apply", *scope, *manner, "-f", "-", input=manifest)

    def find(self, *arguments: str) -> Any | None:
        """Return the object that `get ARGUMENTS` names, or None where there is none; other refusals are raised."""
        try:
            return self.json("get", *arguments)
        except command.CommandError as error:
            if "(NotFound)" in error.stderr:
                return None
            raise

    def wait_for(
        self,
        condition: Callable[[], T],
        deadline_s: float,
        what: str,
        *,
        namespace: str | None = None,
    ) -> T:
        """Ask until the answer is true, and return it.

        A condition that raises CommandError counts as "not yet": what it asks about may not be there.

        Args:
            condition: asked every POLL_S seconds.
            deadline_s: after this long it has failed.
            what: said in the failure, as in "timed out after 60 s waiting for {what}".
            namespace: shown in the failure, with its objects, events and logs.
        Raises: AssertionError with the last answer or refusal.
        """
        deadline = time.monotonic() + deadline_s
        while True:
            last = _ask(condition)
            if last and not isinstance(last, command.CommandError):
                return last
            if time.monotonic() > deadline:
                shown = f"\n\n{self.diagnose(namespace)}" if namespace else ""
                raise AssertionError(f"timed out after {deadline_s:g} s waiting for {what}; last answer: {last}{shown}")
            time.sleep(POLL_S)

    def diagnose(self, namespace: str) -> str:
        """Show what a person would look at first: objects, events, descriptions of pods, and logs.

        Secrets are named, never shown. What cannot be had is said in its place; this never raises.
        """
        scope = ("--namespace", namespace)
        parts = [
            self._show("get", "all,pvc,configmap,secret,pdb", *scope, "-o", "wide"),
            self._show("get", "sst", *scope, "-o", "yaml"),
            self._show("get", "events", *scope, "--sort-by=.lastTimestamp"),
            self._show("describe", "pods", *scope),
        ]
        pods = self._show("get", "pods", *scope, "-o", "name").splitlines()[1:]
        for pod in pods:
            parts.append(self._show("logs", pod, *scope, "--all-containers", "--prefix", "--tail=80"))
        return "\n".join(parts)

    def _show(self, *arguments: str) -> str:
        try:
            shown = self(*arguments, timeout_s=30).rstrip()
        except command.CommandError as error:
            shown = error.stderr.rstrip()
        return f"--- kubectl {' '.join(arguments)}\n{shown}"


def _ask(condition: Callable[[], T]) -> T | command.CommandError:
    try:
        return condition()
    except command.CommandError as error:
        return error
