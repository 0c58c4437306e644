"""The layout `agents/<agent>/sessions/`: `sessions.json`, transcripts and archives beside it. All stable versions."""

from __future__ import annotations

from collections.abc import Iterator

from sessionstore.openclaw import names
from sessionstore.openclaw.places import Place, Source
from sessionstore.openclaw.tree import Kind

LAYOUT = "sessions.json"
FOLDER = "agents"


def agents(source: Source) -> Iterator[str]:
    """Go through the names below `agents/` that are directories; others are problems."""
    kind = source.kind(FOLDER)
    if kind is Kind.FOLDER:
        for child in source.listed(FOLDER):
            if child.kind is Kind.FOLDER:
                yield child.name
            else:
                source.not_followed(f"{FOLDER}/{child.name}", child.kind, None)
    elif kind is not None:
        source.not_taken(FOLDER, kind, None)


def places(source: Source, found: tuple[str, ...]) -> Iterator[Place]:
    """Go through the sessions directories of these agents."""
    for agent in found:
        folder = f"{FOLDER}/{agent}/sessions"
        kind = source.kind(folder)
        if kind is Kind.FOLDER:
            yield Place(folder, names.INDEX, agent)
        elif kind is not None:
            source.not_followed(folder, kind, agent)
