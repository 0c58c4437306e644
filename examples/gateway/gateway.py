"""A small gateway: conversations over HTTP, kept by the session library.

Where they are kept is not its business: `SESSION_STORAGE_CONFIG` says so, and where nothing does, they
are OpenClaw's files in `OPENCLAW_STATE_DIR`. The operator changes the one, this program stays the same.

    GET  /healthz                    it runs
    GET  /readyz                     it reaches its sessions
    GET  /v1/sessions                ?agent=&limit=&cursor=
    GET  /v1/sessions/{key}          entry and lines
    POST /v1/sessions/{key}/turns    {"text": "…"}: start or continue

A key is percent-encoded; `?agent=` names its agent where the key does not. Every answer names the pod
and the backend that gave it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import conversations
from aiohttp import web

from sessionstore.sessions import (
    ConfigurationError,
    Conflict,
    InvalidEntry,
    InvalidKey,
    SessionInfo,
    SessionKey,
    SessionStorage,
    Store,
    Unavailable,
    Unreadable,
    open_store,
)

PORT = 18789
MAX_PAGE = 500
DRAIN_S = 20
"""Seconds that requests under way have after SIGTERM; the pod's grace period must be longer."""

CONFIG = web.AppKey("config", SessionStorage)
STORE = web.AppKey("store", Store)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = logging.getLogger("gateway")


def make_app(config: SessionStorage) -> web.Application:
    app = web.Application(middlewares=[errors_as_json])
    app[CONFIG] = config
    app.cleanup_ctx.append(opened)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/v1/sessions", list_sessions)
    app.router.add_get("/v1/sessions/{key}", get_session)
    app.router.add_post("/v1/sessions/{key}/turns", post_turn)
    return app


async def opened(app: web.Application) -> AsyncIterator[None]:
    """Hold the store open from the first request to the last."""
    async with open_store(app[CONFIG]) as store:
        app[STORE] = store
        yield


async def healthz(request: web.Request) -> web.Response:
    """Alive. A store that is away is no reason to restart."""
    return answer(request, {"ok": True})


async def readyz(request: web.Request) -> web.Response:
    await request.app[STORE].list(limit=1)
    return answer(request, {"ready": True})


async def list_sessions(request: web.Request) -> web.Response:
    limit = request.query.get("limit", "100")
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_PAGE:
        raise BadRequest(f"limit {limit!r} is not a number from 1 to {MAX_PAGE}")
    agent, cursor = request.query.get("agent"), request.query.get("cursor")
    page = await request.app[STORE].list(agent=agent, limit=int(limit), cursor=cursor)
    return answer(request, {"sessions": [_row(info) for info in page.items], "cursor": page.cursor})


async def get_session(request: web.Request) -> web.Response:
    name, store = _name(request), request.app[STORE]
    session, transcript = await store.get(name), await store.read(name)
    if session is None:
        return answer(request, {"error": f"there is no session {name}"}, 404)
    lines = [line.decode("utf-8", "replace") for line in transcript.lines] if transcript else []
    found = {"entry": dict(session.entry), "lines": lines, "revision": session.revision}
    return answer(request, {"key": name.key, "agent": name.agent, **found})


async def post_turn(request: web.Request) -> web.Response:
    name, text = _name(request), await _text(request)
    turn = await conversations.take_turn(request.app[STORE], name, text)
    log.info("turn %d of %s: %d lines", turn.number, name, turn.lines)
    said = {"sessionId": turn.session_id, "turn": turn.number, "reply": turn.reply}
    counted = {"added": turn.added, "lines": turn.lines}
    return answer(request, {"key": name.key, "agent": name.agent, **said, **counted})


class BadRequest(Exception):
    """The request cannot be understood; the message says how to send a better one."""


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell absent, unreadable and unreachable apart, so that no client takes an outage for a new conversation."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return answer(request, {"error": error.reason}, error.status)
    except (BadRequest, InvalidKey, InvalidEntry, ConfigurationError) as error:
        return answer(request, {"error": str(error)}, 400)
    except Conflict as error:
        return answer(request, {"error": str(error)}, 409)
    except Unreadable as error:
        log.error("%s", error)
        return answer(request, {"error": str(error)}, 500)
    except Unavailable as error:
        log.warning("%s", error)
        return answer(request, {"error": str(error)}, 503)


def answer(request: web.Request, body: dict[str, Any], status: int = 200) -> web.Response:
    where = {"pod": os.environ.get("HOSTNAME", ""), "backend": request.app[CONFIG].backend}
    return web.json_response({**body, **where}, status=status)


def _name(request: web.Request) -> SessionKey:
    key, agent = request.match_info["key"], request.query.get("agent")
    return SessionKey(agent, key) if agent else SessionKey.of(key)


async def _text(request: web.Request) -> str:
    try:
        text = (await request.json())["text"]
        text.encode()
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BadRequest('send a JSON object with what is said: {"text": "Hello"}') from None
    return str(text)


def _row(info: SessionInfo) -> dict[str, Any]:
    return {
        "key": info.key.key,
        "agent": info.key.agent,
        "sessionId": info.session_id,
        "lines": info.lines,
        "revision": info.revision,
        "updatedAt": info.updated_ms,
    }


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        config = SessionStorage.from_environment()
    except ConfigurationError as error:
        # Going on with files instead would start new conversations on this pod's disk, unnoticed.
        sys.exit(f"gateway: {error}")
    log.info("sessions: %s", json.dumps({"backend": config.backend, "keyspace": config.keyspace}))
    port = int(os.environ.get("PORT", PORT))
    web.run_app(make_app(config), port=port, access_log=None, shutdown_timeout=DRAIN_S, print=log.info)


if __name__ == "__main__":
    main()
