"""An OpenAI-compatible server on loopback: it keeps what came, and answers what the test says."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class _Listener(ThreadingHTTPServer):
    # All agents of an hour ask at once; whoever finds the standard library's five places taken
    # waits for TCP to try again, longer than the gateway waits for a connection.
    request_queue_size = 512


class Upstream:
    """``content`` is the answer, after ``seconds``; ``kind`` its type. Use as a context manager."""

    def __init__(self) -> None:
        self.came: list[tuple[str | None, bytes]] = []
        self.status = 200
        self.kind = "application/json"
        self.content = json.dumps({"model": "qwen/q", "odd": 1, "choices": []}).encode()
        self.seconds = 0.0
        self.limit = b"7"  # the value of a header that is passed on
        self.lost = 0  # bytes that it announces and does not send
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                peer.came.append((self.headers["Authorization"], body))
                time.sleep(peer.seconds)
                status, content = peer.answer(body)
                self.send_response(status)
                self.send_header("Content-Type", peer.kind)
                self.send_header("X-RateLimit-Remaining", peer.limit.decode("latin-1"))
                self.send_header("Set-Cookie", "a=b")
                self.send_header("Content-Length", str(len(content) + peer.lost))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = _Listener(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def answer(self, body: bytes) -> tuple[int, bytes]:  # noqa: ARG002  # of peers that read it
        """The status and the answer to a request."""
        return self.status, self.content

    def says(self, text: str) -> None:
        """Answer with a chat completion of this text."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
        self.content = json.dumps({**reply, "choices": [choice]}).encode()

    def __enter__(self) -> Upstream:
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
