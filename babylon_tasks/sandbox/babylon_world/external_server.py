"""The external model behind an OpenAI-compatible address on loopback, as a provider offers one.

It reports neither log-probabilities nor token ids, whether or not it is asked for them.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct

from babylon_tasks.sandbox.babylon_world import external_model

SERVER = "external"  # its name at the gateway
_LONGEST = 2**20  # bytes of a request


class _Message(Struct):
    role: str
    content: str


class _Asked(Struct):
    model: str
    messages: list[_Message]
    user: str = ""


class _Listener(ThreadingHTTPServer):
    # All agents of an hour ask at once; with the five of the standard library most of them wait
    # until TCP tries again, for seconds.
    request_queue_size = 512
    daemon_threads = True


class ExternalServer:
    """The server; use as a context manager. Agents are distinguished by OpenAI's field ``user``."""

    def __init__(self, seed: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet, which no delayed acknowledgement stops

            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length") or 0), _LONGEST)
                status, reply = answered(seed, self.rfile.read(length))
                content = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Log nothing: prompts are no matter of a log."""

        self._server = _Listener(("127.0.0.1", 0), Handler)

    @property
    def upstreams(self) -> str:
        """The value of ``BABYLON_GATEWAY_UPSTREAMS`` with which the gateway asks it."""
        address = f"http://127.0.0.1:{self._server.server_port}/v1"
        return json.dumps({SERVER: {"base_url": address, "models": [external_model.NAME]}})

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, name="external-model", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def answered(seed: int, body: bytes) -> tuple[int, dict[str, Any]]:
    """Answer one request: the status and the reply."""
    try:
        asked = msgspec.json.decode(body, type=_Asked)
    except msgspec.DecodeError as error:
        return 400, _refusal(f"this request cannot be read: {error}")
    prompt = {one.role: one.content for one in asked.messages}
    text = external_model.answer(seed, asked.user, prompt.get("system", ""), prompt.get("user", ""))
    return 200, {
        "id": "chatcmpl-external",
        "object": "chat.completion",
        "created": 0,
        "model": external_model.NAME,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
    }


def _refusal(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error"}}
