"""Sessions that a proposed OpenClaw archived: an index `archived-store.json`, their transcripts below `archived/`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from sessionstore.openclaw import files
from sessionstore.openclaw.folder import FileFolder
from sessionstore.openclaw.json_index import JSONIndex
from sessionstore.openclaw.places import Place, Source
from sessionstore.openclaw.tree import Kind

LAYOUT = "archived-store.json"


def indexes(source: Source, places: tuple[Place, ...]) -> Iterator[JSONIndex]:
    """Go through the indexes of archived sessions beside these places, or below `archived/` there."""
    for place in places:
        archive = files.joined(place.folder, "archived")
        for folder, transcripts in (
            (archive, (f"{archive}/sessions", archive)),
            (place.folder, (archive, f"{archive}/sessions")),
        ):
            if source.kind(files.joined(folder, LAYOUT)) is not None:
                index = source.index(LAYOUT, Place(folder, LAYOUT, place.agent))
                yield dataclasses.replace(index, folders=_Folders((*transcripts, place.folder)), archived=True)


def folders(source: Source, places: tuple[Place, ...]) -> Iterator[FileFolder]:
    """Go through the directories with archived transcripts."""
    for place in places:
        agent = source.default_agent if place.agent is None else place.agent
        archive = files.joined(place.folder, "archived")
        for folder in (archive, f"{archive}/sessions"):
            kind = source.kind(folder)
            if kind is Kind.FOLDER:
                yield source.folder(folder, agent, is_ours=True, known=_is_known)
            elif kind is not None:
                source.not_taken(folder, kind, agent)


@dataclasses.dataclass(frozen=True, slots=True)
class _Folders:
    """The same folders for every agent."""

    folders: tuple[str, ...]

    def __call__(self, agent: str) -> tuple[str, ...]:
        return self.folders


def _is_known(name: str) -> bool:
    return name in (LAYOUT, "sessions")
