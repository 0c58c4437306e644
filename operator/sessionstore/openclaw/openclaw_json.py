"""What `openclaw.json` says of where the sessions are: `session.store`, and the agents. It is JSON5.

Source: `resolveStorePath`, `resolveDefaultAgentId`, `normalizeAgentId` and the substitution of variables in OpenClaw
2026.5.28 and 2026.7.1-2.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sessionstore.openclaw.problems import Problem, Reason, Refused, SourceError
from sessionstore.openclaw.tree import Tree

FILE = "openclaw.json"
STATE_DIR = "/home/node/.openclaw"
"""Where OpenClaw's images have it."""
DEFAULT_AGENT = "main"
TEMPLATE = "{agentId}"
_MAX_BYTES = 8 * 1024**2
_MAX_JSON5_BYTES = 512 * 1024
"""The parser takes some 30 microseconds a byte. What a program wrote is plain JSON, and takes another way."""
_HOME = ".openclaw"
_VARIABLE = re.compile(r"\$(?P<escaped>\$)?\{(?P<name>[A-Z_][A-Z0-9_]*)\}")
_KEY_AGENT = re.compile(r"agent:([^:]+):.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was found.

    Attributes:
        store: `session.store`, as it is written.
        default_agent: owns the sessions whose keys name none.
        agents: that are configured.
        is_certain: whether all that it says of sessions is known: it is there, and could be read.
        problem: why not, where it is there.
    """

    store: str | None = None
    default_agent: str = DEFAULT_AGENT
    agents: tuple[str, ...] = ()
    is_certain: bool = False
    problem: Problem | None = None


class Unresolved(Exception):
    """A path that leads out of the state directory, or that only the gateway's surroundings tell."""


def read(tree: Tree) -> Configuration:
    """Read the configuration of a state directory. Raises: SourceError."""
    if tree.status(FILE) is None:
        return Configuration()
    try:
        with tree.opened(FILE, _MAX_BYTES) as (file, status), open(file, "rb", closefd=False) as stream:
            raw = stream.read(status.st_size)
    except Refused as error:
        return Configuration(problem=error.problem(FILE))
    try:
        return _found(_parsed(raw))
    except (ValueError, RecursionError) as error:
        detail = f"cannot be understood ({error}); make sure that it does not set session.store"
        return Configuration(problem=Problem(FILE, Reason.INVALID_JSON, detail))


def normal_agent(text: object) -> str:
    """Write an agent's id as OpenClaw does in paths."""
    lowered = text.strip().lower() if isinstance(text, str) else ""
    return re.sub(r"[^a-z0-9_-]+", "-", lowered).strip("-") or DEFAULT_AGENT


def agent_of(key: str, default: str) -> str:
    """Return the agent that a session key names, where several agents share an index."""
    match = _KEY_AGENT.match(key)
    return normal_agent(match[1]) if match else default


def resolve(store: str, state_dir: str) -> str:
    """Return where `session.store` is within the state directory; a template stays one.

    Args:
        state_dir: where the gateway sees the state directory.

    Raises: Unresolved.
    """
    state_dir = posixpath.normpath(state_dir)
    path = _VARIABLE.sub(lambda match: _variable(match, state_dir), store.strip())
    if re.match(r"~(?=$|[\\/])", path):
        path = _home(state_dir, "~") + path[1:]
    if not path.startswith("/"):
        # OpenClaw takes its working directory, which is the image's and no part of the volume.
        raise Unresolved(f"session.store is {store}, which depends on where the gateway was started; make it absolute")
    path = posixpath.normpath(path)
    if not path.startswith(f"{state_dir}/"):
        raise Unresolved(
            f"session.store is {store}, outside the state directory {state_dir}; if the gateway sees it elsewhere, "
            "name that with --state-dir; if it lies on another volume, migrate a copy of both in one directory"
        )
    return path[len(state_dir) + 1 :]


def _parsed(raw: bytes) -> Mapping[str, Any]:
    text = raw.decode("utf-8-sig")
    try:
        value = json.loads(text)
    except ValueError:
        value = _json5(text)
    if not isinstance(value, dict):
        raise ValueError("it is not one object")
    return value


def _json5(text: str) -> object:
    if len(text) > _MAX_JSON5_BYTES:
        raise ValueError(f"it is no JSON, and too large to be read as JSON5: above {_MAX_JSON5_BYTES} bytes")
    try:
        import json5  # noqa: PLC0415 - an optional package
    except ModuleNotFoundError as error:
        what = "to read openclaw.json, a migration needs the Python package json5"
        raise SourceError("PackageMissing", f"{what}; install sessionstore-operator[migration]") from error
    return json5.loads(text)


def _found(data: Mapping[str, Any]) -> Configuration:
    session, agents = _object(data.get("session")), _object(data.get("agents"))
    if "$include" in data or "$include" in session:
        raise ValueError("it includes other files, which are not read")
    listed = [_object(agent) for agent in _list(agents.get("list"))]
    chosen = next((agent for agent in listed if agent.get("default")), listed[0] if listed else {})
    store = session.get("store")
    ids = tuple(normal_agent(agent.get("id")) for agent in listed)
    return Configuration(store if isinstance(store, str) and store else None, normal_agent(chosen.get("id")), ids, True)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _variable(match: re.Match[str], state_dir: str) -> str:
    name = match["name"]
    if match["escaped"]:
        return f"${{{name}}}"
    if name == "OPENCLAW_STATE_DIR":
        return state_dir
    if name in ("HOME", "OPENCLAW_HOME"):
        return _home(state_dir, f"${{{name}}}")
    raise Unresolved(f"session.store holds ${{{name}}}, a variable of the gateway; write its value into a copy")


def _home(state_dir: str, name: str) -> str:
    home, _, last = state_dir.rpartition("/")
    if last != _HOME:
        detail = f"session.store holds {name}, and {state_dir} does not tell the home directory"
        raise Unresolved(f"{detail}; make it absolute in a copy")
    return home
