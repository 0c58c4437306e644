"""A small server that speaks enough of Telegram's Bot API: updates come until they are confirmed, answers are kept.

Unlike Telegram's it lets two clients ask at once, and gives both every update: the harder case.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "123:token-of-the-tests"


class BotApi:
    """What chats said and were told; `confirmed` is the last update that a client, told by its path, is done with."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.sent: list[tuple[int, str]] = []
        self.confirmed: Counter[str] = Counter()
        self.polls: Counter[str] = Counter()
        self._updates: list[dict[str, Any]] = []
        self._changed = threading.Condition()

    def say(self, chat: int, text: str) -> int:
        """Let a chat say something; return the update's number."""
        with self._changed:
            number = len(self._updates) + 1
            self._updates.append({"update_id": number, "message": {"chat": {"id": chat}, "text": text}})
            self._changed.notify_all()
        return number

    def told(self, chat: int) -> list[str]:
        with self._changed:
            return [text for to, text in self.sent if to == chat]

    def call(self, method: str, arguments: dict[str, Any], asker: str) -> object:
        if method == "sendMessage":
            # As long as a network takes, or two workers would hardly ever meet.
            time.sleep(0.03)
            with self._changed:
                self.sent.append((arguments["chat_id"], arguments["text"]))
                return {"message_id": len(self.sent)}
        with self._changed:
            done = self.confirmed[asker] = max(self.confirmed[asker], arguments["offset"] - 1)
            self.polls[asker] += 1
            # Shorter than what is asked for: a test that ends must not wait for it.
            self._changed.wait_for(lambda: len(self._updates) > done, min(arguments["timeout"], 0.5))
            return self._updates[done:]


@contextlib.contextmanager
def running() -> Iterator[BotApi]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            prefix, method = self.path.rsplit("/", 1)
            asker, _, token = prefix.partition("/bot")
            known = token == TOKEN
            answer = {"ok": True, "result": api.call(method, body, asker)} if known else {"ok": False}
            self.send_response(200 if known else 401)
            self.send_header("content-type", "application/json")
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Keep the tests' output to what the tests say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api = BotApi(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
