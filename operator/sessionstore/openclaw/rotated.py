"""What OpenClaw left beside an index: `sessions.d`, and indexes of before, `….bak.<ms>`.

Up to 2026.4 a large `sessions.json` was renamed, later copied, to such a name. The newest counts, older ones fill the
gaps; what a current index has, none of them adds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sessionstore.openclaw import files
from sessionstore.openclaw.places import Place, Source
from sessionstore.openclaw.reader import Index
from sessionstore.openclaw.sessions_d import DirectoryIndex
from sessionstore.openclaw.tree import Kind

LAYOUT = "sessions.json.bak"
_DIRECTORY = re.compile(r"sessions\.d(?:\.(?P<state>bak)?.*?(?P<time>\d+)?)?", re.DOTALL)


@dataclass(slots=True)
class Beside:
    """What was found beside some indexes.

    Attributes:
        directories: in use.
        unfinished: moves to a directory that were left half done.
    """

    directories: list[DirectoryIndex] = field(default_factory=list)
    unfinished: list[DirectoryIndex] = field(default_factory=list)
    _dated: list[tuple[int, str, Index]] = field(default_factory=list)

    @property
    def rotated(self) -> list[Index]:
        """Indexes of before, the newest first."""
        return [index for *_, index in sorted(self._dated, key=lambda dated: (-dated[0], dated[1]))]

    def look(self, source: Source, places: tuple[Place, ...]) -> Beside:
        """Look beside these places, which share a folder."""
        place, several = places[0], {place.agent for place in places}
        mixed = Place(place.folder, place.file, place.agent if len(several) == 1 else None)
        for name, kind in source.names(place.folder):
            if match := _DIRECTORY.fullmatch(name):
                self._add_directory(source, mixed, match, kind)
            for one in places:
                time = name.removeprefix(f"{one.file}.bak.")
                if time != name and time.isdecimal():
                    index = source.index(LAYOUT, one, name)
                    self._dated.append((int(time), index.path, index))
        return self

    def _add_directory(self, source: Source, place: Place, match: re.Match[str], kind: Kind) -> None:
        path = files.joined(place.folder, match[0])
        if kind is not Kind.FOLDER:
            source.not_taken(path, kind, place.agent)
            return
        is_current, is_kept = match[0] == "sessions.d", match["state"] is not None
        index = DirectoryIndex(
            source.tree,
            source.scratch,
            path,
            place.agent,
            place.transcripts,
            source.agent_of,
            source.max_file_bytes,
            is_current or is_kept,
        )
        if is_kept:
            self._dated.append((int(match["time"] or 0), index.path, index))
        else:
            (self.directories if is_current else self.unfinished).append(index)
