"""What an error says of a name that is not known: the one that may be meant, or all that are known."""

from __future__ import annotations

from collections.abc import Iterable


def hint(name: str, known: Iterable[str]) -> str:
    """Return the end of the message, with its semicolon; nothing where nothing is known."""
    # Costs a millisecond, and nothing is wrong in nearly all processes.
    import difflib  # noqa: PLC0415

    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(names)}" if names else ""
