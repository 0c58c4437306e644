"""What an optional Python package is needed for, said in one way where it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sessionstore.sessions.exceptions import ConfigurationError


@contextmanager
def needed(what: str, package: str, extra: str) -> Iterator[None]:
    """Import in this block what `package` is needed for. Raises: ConfigurationError where it is not installed.

    Args:
        what: needs it, as the message names it.
        extra: of ours that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        # A module of ours that is missing is a fault of ours.
        if (error.name or "").startswith("sessionstore"):
            raise
        raise ConfigurationError(
            f"{what} needs the Python package {package}; install sessionstore-operator[{extra}]"
        ) from error
