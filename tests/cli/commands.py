"""What tests of the command line share."""

from __future__ import annotations


def one_line(text: str) -> bool:
    """Tell whether a failure is told in one line."""
    return text.startswith("sessionstore: ") and text.endswith("\n") and text.count("\n") == 1
