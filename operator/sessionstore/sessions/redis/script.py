"""Lua scripts, as the server is told of them."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

_DIRECTORY = Path(__file__).with_name("lua")


@functools.cache
def _lua(name: str) -> str:
    return _DIRECTORY.joinpath(f"{name}.lua").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script and the name the server knows it by."""

    text: str
    sha: str

    @classmethod
    def load(cls, *names: str) -> Script:
        """Join the files `names` of lua/ to one script."""
        text = "\n".join(_lua(name) for name in names)
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
