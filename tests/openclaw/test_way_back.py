"""Real OpenClaw on what `export` wrote: it lists the same sessions, and goes on with a conversation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore.sessions import SessionKey, open_store
from tests.conftest import LONG
from tests.migrate import states
from tests.migrate.conftest import real, run, server, url  # noqa: F401  fixtures
from tests.openclaw import model
from tests.openclaw.model import ANSWER, Model
from tests.openclaw.program import DATABASE, FILES, OpenClaw, is_installed

pytestmark = pytest.mark.skipif(
    not LONG and not is_installed(), reason="real OpenClaw is run by `make test-long`, or once `make openclaw` got it"
)

KEY = SessionKey("main", "agent:main:telegram:direct:123456789")
NEW = SessionKey("main", "agent:main:telegram:direct:42")
DELETED = SessionKey("main", "agent:main:whatsapp:direct:+15551234567")
EARLY, LATE = "Second turn", "Said after the cutover"


@pytest.fixture
def talk() -> Iterator[Model]:
    with model.serving() as serving:
        yield serving


def _message(id: str, parent: str | None, role: str, text: str) -> bytes:
    """Return a line as OpenClaw writes it."""
    said = {"role": role, "content": [{"type": "text", "text": text}], "timestamp": 1_795_200_000_000}
    if role == "assistant":
        said |= {"provider": "mock", "model": "mock-1", "api": "openai-completions", "stopReason": "stop"}
        said |= {"usage": {"input": 1, "output": 1, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 2}}
    line = {"type": "message", "id": id, "parentId": parent, "timestamp": "2026-11-21T10:00:00.000Z", "message": said}
    return json.dumps(line).encode()


def _go_on(store_url: str) -> None:
    """Do what a gateway does on the store after the cutover: one conversation goes on, one begins, one ends."""

    async def work() -> None:
        async with open_store(store_url) as store:
            read = await store.read(KEY)
            assert read is not None
            last = json.loads(read.lines[-1])["id"]
            await store.append(
                KEY, [_message("aaaa0001", last, "user", LATE), _message("aaaa0002", "aaaa0001", "assistant", "Heard.")]
            )
            session_id = "11111111-2222-4333-8444-555555555555"
            await store.set(NEW, {"sessionId": session_id, "updatedAt": 1_795_200_000_000})
            header = {"type": "session", "version": 3, "id": session_id, "timestamp": "2026-11-21T10:00:00.000Z"}
            await store.append(
                NEW,
                [
                    json.dumps(header | {"cwd": "/"}).encode(),
                    _message("bbbb0001", None, "user", "A new conversation"),
                    _message("bbbb0002", "bbbb0001", "assistant", "Welcome."),
                ],
            )
            await store.delete(DELETED)

    asyncio.run(work())


def test_openclaw_goes_on_with_what_was_exported_in_place(real: Path, url: str, talk: Model) -> None:  # noqa: F811
    openclaw = OpenClaw(FILES, real)
    openclaw.configure(talk.url)
    before = openclaw.sessions()
    assert run("migrate", real, "--to", url).status == 0
    _go_on(url)

    answer = run("export", url, "--to", real, "--in-place")

    assert (answer.status, answer.document["outcome"]) == (0, "Exported"), answer
    after = openclaw.sessions()
    assert set(after) == set(before) - {DELETED.key} | {NEW.key}
    unchanged = ("sessionId", "label", "updatedAt", "model")
    assert all(after[key].get(name) == before[key].get(name) for key in after if key in before for name in unchanged)

    turn = openclaw.say(KEY.key, "And now?")
    assert turn["payloads"][0]["text"] == ANSWER
    assert turn["meta"]["agentMeta"]["sessionId"] == before[KEY.key]["sessionId"], "the same conversation goes on"
    heard = talk.heard()
    assert heard.index(EARLY) < heard.index(LATE) < heard.index("Heard.") < heard.index("And now?")

    openclaw.say(NEW.key, "Who was first?")
    assert "A new conversation" in talk.heard() and "Welcome." in talk.heard()
    again = run("migrate", real, "--to", url)
    assert (again.document["mismatches"], again.document["problems"]) == ([], []), (
        "what OpenClaw added is carried again"
    )


def test_openclaw_with_a_database_takes_in_what_was_exported(tmp_path: Path, url: str, talk: Model) -> None:  # noqa: F811
    source = states.unpack(tmp_path / "source")
    assert run("migrate", source, "--to", url).status == 0
    _go_on(url)
    state = tmp_path / "state"

    assert run("export", url, "--to", state).status == 0
    openclaw = OpenClaw(DATABASE, state)
    openclaw.configure(talk.url)
    openclaw.take_in()

    found = json.loads((source / "agents" / "main" / "sessions" / "sessions.json").read_bytes())
    assert set(openclaw.sessions()) == {*found, "agent:work:main", NEW.key} - {DELETED.key}
    refused = run("export", url, "--to", state, "--in-place")
    assert (refused.status, refused.document["reason"]) == (1, "DatabaseInPlace")
