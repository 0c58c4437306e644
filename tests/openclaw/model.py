"""A language model that answers one sentence, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

ANSWER = "I have read all of it."


class Model:
    """What a gateway sent, and where to send it. Each question is the list of its messages."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.questions: list[list[dict[str, Any]]] = []

    def heard(self) -> str:
        """Return the text of the last question, messages of the user and the assistant alone."""
        texts = [_text(message) for message in self.questions[-1] if message["role"] != "system"]
        return "\n".join(texts)


@contextlib.contextmanager
def serving() -> Iterator[Model]:
    """Serve a model on this machine, for the block."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.model = Model(f"http://127.0.0.1:{server.server_port}/v1")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.model  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Speaks as much of the chat completions API as OpenClaw uses."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.model.questions.append(request["messages"])  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for choice in ({"delta": {"role": "assistant", "content": ANSWER}}, {"delta": {}, "finish_reason": "stop"}):
            chunk = {
                "id": "1",
                "object": "chat.completion.chunk",
                "model": "mock-1",
                "choices": [{"index": 0, **choice}],
            }
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or [])
