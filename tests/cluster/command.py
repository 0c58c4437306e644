"""Other programs, run to their end: the one place in the tests' set-up that starts processes."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence


class CommandError(Exception):
    """A program ended with a status other than 0, or did not end in time.

    Attributes: `stderr` is what it said, for callers that tell one refusal from another.
    """

    def __init__(self, arguments: Sequence[str], outcome: str, stderr: str) -> None:
        super().__init__(f"`{shlex.join(arguments)}` {outcome}\n{stderr.strip()}")
        self.stderr = stderr


def run(
    arguments: Sequence[str],
    *,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 300,
) -> str:
    """Run a program and return its standard output.

    Args:
        arguments: the program and its arguments; no shell is involved.
        stdin: its standard input; none is inherited, so that nothing can wait for a terminal.
        environment: variables added to this process's own.
        timeout_s: after this long the program is killed.
    Raises: CommandError, with both the command and what it printed on standard error.
    """
    try:
        done = subprocess.run(
            arguments,
            input=stdin or "",
            env={**os.environ, **(environment or {})},
            timeout=timeout_s,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(arguments, f"did not end within {timeout_s:g} s", _text(error.stderr)) from error
    if done.returncode != 0:
        raise CommandError(arguments, f"ended with status {done.returncode}", done.stderr or done.stdout)
    return done.stdout


def stream(arguments: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
    """Run a long program whose output a person should see as it comes; it goes to standard error.

    Raises: CommandError; what the program printed has been seen already.
    """
    done = subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=2,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if done.returncode != 0:
        raise CommandError(arguments, f"ended with status {done.returncode}", "")


def _text(output: bytes | str | None) -> str:
    """`TimeoutExpired` holds bytes even where text was asked for."""
    return output.decode(errors="backslashreplace") if isinstance(output, bytes) else output or ""
