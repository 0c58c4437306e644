"""Answers messages of many channels, read as JSON lines; scopes.yaml says who shares a conversation with whom.

    python scoped_assistant.py scopes.yaml < messages.jsonl

    default: per-channel            # each sender has one conversation on each channel
    channels:
      inbox: per-sender             # … one on all channels that say so
      home: global                  # everybody has the same one
      support: isolated             # … one on each account of the channel
      kiosk: ephemeral              # … one until {"end": true}, the end of the input, or the end of this program

A message is {"channel", "sender", "text"}, perhaps with "account" and "thread".
"""

import asyncio
import contextlib
import json
import signal
import sys
import uuid
from pathlib import Path

import yaml

from sessionstore.sessions import Conflict, NoTranscript, SessionError, SessionKey, Store, open_store
from sessionstore.sessions.scopes import Scope, ScopedKey, Scopes, ephemeral

REMEMBERED, TRIES = 50, 20


async def answer(store: Store, key: SessionKey, channel: str, text: str) -> str:
    for _ in range(TRIES):
        past = await store.read(key, -REMEMBERED)
        if past is None:
            with contextlib.suppress(Conflict):  # somebody else may begin it at this moment
                await store.set(key, {"sessionId": str(uuid.uuid4()), "channel": channel}, expected=0)
            continue
        reply = await think([json.loads(line) for line in past.lines], text)
        lines = [json.dumps({"role": role, "text": t}).encode() for role, t in (("user", text), ("bot", reply))]
        with contextlib.suppress(Conflict, NoTranscript):
            await store.append(key, lines, position=past.head.lines, generation=past.head.generation)
            return reply
    raise Conflict(f"conversation {key} is too busy, or names no transcript", None)


class Visits:
    """The ephemeral conversations that go on. Each is deleted when it ends, however this program ends."""

    def __init__(self, store: Store, until: contextlib.AsyncExitStack) -> None:
        self._store, self._until, self._open = store, until, {}

    async def key_of(self, found: ScopedKey) -> SessionKey:
        if found.key not in self._open:
            visit = await self._until.enter_async_context(contextlib.AsyncExitStack())
            session = await visit.enter_async_context(ephemeral(self._store, found.key))
            self._open[found.key] = session.key, visit
        return self._open[found.key][0]

    async def end(self, found: ScopedKey) -> None:
        if found.key in self._open:
            await self._open.pop(found.key)[1].aclose()


async def main(scopes: Scopes) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    messages = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(messages), sys.stdin)
    async with open_store() as store, contextlib.AsyncExitStack() as until:
        visits = Visits(store, until)
        async for line in messages:
            try:
                message = json.loads(line)
                told = {name: message[name] for name in ("account", "thread") if name in message}
                found = scopes.resolve(message["channel"], message["sender"], **told)
                if message.get("end"):
                    await visits.end(found)
                    continue
                key = await visits.key_of(found) if found.scope is Scope.EPHEMERAL else found.key
                print(json.dumps({"reply": await answer(store, key, message["channel"], message["text"])}), flush=True)
            except (SessionError, KeyError, ValueError) as error:
                print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)


async def think(messages: list[dict], text: str) -> str:
    return f"You said {text!r}; I remember {len(messages)} messages."  # ask a model here


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main(Scopes.from_mapping(yaml.safe_load(Path(sys.argv[1]).read_text()))))
