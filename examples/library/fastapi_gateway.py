"""A gateway over HTTP, of which any number may run on one store.

    SESSION_STORAGE_CONFIG=session_storage.yaml PORT=8080 python fastapi_gateway.py
    curl -d '{"id": "m1", "text": "Hello"}' -H content-type:application/json localhost:8080/chats/42/turns

`id` is the caller's own name for what is said: who got no answer, or a 503, sends the same again, and it is stored once
(a repeat is known among the last REMEMBERED lines).
"""

import contextlib
import json
import os
import uuid

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from sessionstore.sessions import Conflict, InvalidKey, NoTranscript, SessionKey, Store, Unavailable, open_store

REMEMBERED = 50
TRIES = 20


class Said(BaseModel):
    id: str = Field(min_length=1, max_length=100)
    text: str = Field(max_length=100_000)


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI):
    async with open_store() as app.state.store:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/chats/{sender}/turns")
async def take_turn(sender: str, said: Said, request: Request):
    store: Store = request.app.state.store
    key = SessionKey("main", f"agent:main:web:direct:{sender}")
    for _ in range(TRIES):
        # Each round begins with what is there now. Whoever was faster is read, and answered after.
        with contextlib.suppress(Conflict, NoTranscript):
            if await store.get(key) is None:
                await store.set(key, {"sessionId": str(uuid.uuid4()), "channel": "web"}, expected=0)
            past = await store.read(key, -REMEMBERED)
            if past is None:
                continue
            messages = [json.loads(line) for line in past.lines]
            answered = next((m["text"] for m in messages if m.get("answers") == said.id), None)
            if answered is not None:
                return {"reply": answered, "lines": past.head.lines}
            reply = await think(messages, said.text)
            turn = {"role": "user", "text": said.text}, {"role": "assistant", "answers": said.id, "text": reply}
            lines = [json.dumps(message).encode() for message in turn]
            # Both lines or none, and only behind what the answer was made from.
            head = await store.append(key, lines, position=past.head.lines, generation=past.head.generation)
            return {"reply": reply, "lines": head.lines}
    raise HTTPException(409, "this chat is too busy; send it again")


@app.get("/chats/{sender}")
async def show(sender: str, request: Request):
    past = await request.app.state.store.read(f"agent:main:web:direct:{sender}", -REMEMBERED)
    if past is None:
        raise HTTPException(404, "no such chat")
    return {"lines": past.head.lines, "last": [json.loads(line) for line in past.lines]}


@app.exception_handler(Unavailable)
async def store_is_away(request: Request, error: Unavailable):
    # An outage is never a new conversation. What was sent with an `id` may safely be sent again.
    return JSONResponse({"detail": f"the session store is not available: {error.reason}"}, 503, {"retry-after": "1"})


@app.exception_handler(InvalidKey)
async def not_a_name(request: Request, error: InvalidKey):
    return JSONResponse({"detail": str(error)}, 400)


async def think(messages: list[dict], text: str) -> str:
    """Where a model would be asked."""
    return f"You said {text!r}; I remember {len(messages)} messages."


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")), log_level="warning")
