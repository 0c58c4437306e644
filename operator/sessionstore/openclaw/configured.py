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


def unconfigured(source: Source) -> list[Place]:
    """Return the charts' index where its configuration is mounted from elsewhere, and is not in the directory."""
    return [_place(name, None) for name in ("sessions", names.INDEX) if source.kind(name) is Kind.FILE]


def _place(path: str, agent: str | None) -> Place:
    folder, _, file = path.rpartition("/")
    return Place(folder, file, agent)


def _agents_of(source: Source, path: str) -> Iterator[str]:
    """Find agents of a template that nothing else names: by the names that fit its first part."""
    parts = path.split("/")
    at = next(number for number, part in enumerate(parts) if TEMPLATE in part)
    before, after = map(re.escape, parts[at].split(TEMPLATE, 1))
    pattern = re.compile(f"{before}([a-z0-9_-]+){after.replace(re.escape(TEMPLATE), '[a-z0-9_-]+')}")
    folder = "/".join(parts[:at])
    if folder and source.kind(folder) is not Kind.FOLDER:
        return
    for name, _ in source.names(folder):
        match = pattern.fullmatch(name)
        if match:
            yield match[1]
