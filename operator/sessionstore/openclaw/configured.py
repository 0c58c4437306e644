"""The layout that `session.store` in `openclaw.json` makes: an index of any name, anywhere, of one agent or of many.

Both popular Helm charts set `/home/node/.openclaw/sessions`: a file of that name, with transcripts beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sessionstore.openclaw import names, openclaw_json
from sessionstore.openclaw.openclaw_json import TEMPLATE, Configuration
from sessionstore.openclaw.places import Place, Source
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.openclaw.tree import Kind

LAYOUT = "session.store"
_CHARTS = "sessions"
_AGENT = "[a-z0-9_-]+"


def places(source: Source, configuration: Configuration, state_dir: str, agents: tuple[str, ...]) -> list[Place]:
    """Return where the configured indexes lie; a path that cannot be followed is a problem.

    Args:
        state_dir: where the gateway sees the state directory.
        agents: that are known otherwise.
    """
    if configuration.problem:
        source.problems.append(configuration.problem)
    if configuration.store is None:
        return []
    try:
        path = openclaw_json.resolve(configuration.store, state_dir)
    except openclaw_json.Unresolved as error:
        problem = Problem(openclaw_json.FILE, Reason.UNSUPPORTED_LAYOUT, str(error))
        source.problems.append(problem)
        return []
    if TEMPLATE not in path:
        return [_place(path, None)]
    known = {configuration.default_agent, *configuration.agents, *agents, *_agents_of(source, path)}
    return [_place(path.replace(TEMPLATE, agent), agent) for agent in sorted(known)]


def unconfigured(source: Source, configured: tuple[Place, ...]) -> list[Place]:
    """Return the charts' index where its configuration is mounted from elsewhere, and is not in the directory."""
    found = []
    for name in (_CHARTS, names.INDEX):
        kind, place = source.kind(name), _place(name, None)
        if kind is Kind.FILE:
            found.append(place)
        elif kind is not None and (name, kind) != (_CHARTS, Kind.FOLDER) and place not in configured:
            source.not_taken(name, kind, None)
    return found


def _place(path: str, agent: str | None) -> Place:
    folder, _, file = path.rpartition("/")
    return Place(folder, file, agent)


def _agents_of(source: Source, path: str) -> Iterator[str]:
    """Find agents of a template that nothing else names: by the names that fit its first part."""
    parts = path.split("/")
    at = next(number for number, part in enumerate(parts) if TEMPLATE in part)
    patterns = tuple(_patterns(parts[at], is_file=at == len(parts) - 1))
    folder = "/".join(parts[:at])
    if folder and source.kind(folder) is not Kind.FOLDER:
        return
    for name, _ in source.names(folder):
        yield from (match[1] for pattern in patterns if (match := pattern.fullmatch(name)))


def _patterns(part: str, *, is_file: bool) -> Iterator[re.Pattern[str]]:
    """Go through what matches the names that a part of a path becomes: of a file, its older copies and database too."""
    yield _pattern(part)
    if is_file:
        stem = part.rpartition(".")[0]
        yield _pattern(part, r"\.bak\.\d+")
        yield _pattern(stem if TEMPLATE in stem else part, r"(?:\.[^/]+)?\.sqlite")


def _pattern(part: str, ending: str = "") -> re.Pattern[str]:
    before, *after = map(re.escape, part.split(TEMPLATE))
    return re.compile(f"{before}({_AGENT}){_AGENT.join(after)}{ending}")
