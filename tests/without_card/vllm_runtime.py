"""Stand-in for the vLLM that ART starts: its arguments, paths, key and names, and no model.

An answer's text is the weight of the adapter that gave it, as it was when the adapter was loaded.
As in vLLM, the key guards ``/v1`` alone, and the name that it was started with means the base model
once no adapter has it. Asleep it refuses to answer, which vLLM does not promise to survive.
"""

from __future__ import annotations

import argparse
import json
import struct
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BASE = "the base model"


class Server(ThreadingHTTPServer):
    """What it has loaded, and whether it sleeps."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], *, served: str, adapter: str, key: str) -> None:
        super().__init__(address, Handler)
        self.served = served
        self.key = key
        self.asleep = False
        self.adapters = {served: weight(adapter)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if self.path == "/health":
            return self._answer(200, {})
        if self._is_refused():
            return self._answer(401, {"error": "Unauthorized"})
        if self.path == "/v1/models":
            names = {self.server.served, *self.server.adapters}
            return self._answer(200, {"object": "list", "data": [{"id": one} for one in names]})
        return self._answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        asked = json.loads(body or b"{}")
        path = urlsplit(self.path).path
        if self._is_refused():
            return self._answer(401, {"error": "Unauthorized"})
        match path:
            case "/sleep" | "/wake_up":
                self.server.asleep = path == "/sleep"
                return self._answer(200, {})
            case "/v1/load_lora_adapter":
                self.server.adapters[asked["lora_name"]] = weight(asked["lora_path"])
                return self._answer(200, {})
            case "/v1/unload_lora_adapter":
                found = self.server.adapters.pop(asked["lora_name"], None)
                return self._answer(404 if found is None else 200, {})
            case "/v1/chat/completions":
                return self._complete(asked)
        return self._answer(404, {})

    def _is_refused(self) -> bool:
        key = f"Bearer {self.server.key}"
        return self.path.startswith("/v1") and self.headers["authorization"] != key

    def _complete(self, asked: dict[str, Any]) -> None:
        model = asked["model"]
        text = self.server.adapters.get(model, BASE if model == self.server.served else None)
        if text is None:
            return self._answer(404, {"error": {"message": f"The model `{model}` does not exist."}})
        if self.server.asleep:
            return self._answer(500, {"error": {"message": "asleep"}})
        if asked.get("stream"):
            with suppress(ConnectionError):  # the client may not wait for all of it
                self._stream(model, text, asked.get("user"))
            return None
        choice = {"index": 0, "finish_reason": "stop"}
        message = {"role": "assistant", "content": text}
        answer = {"id": "x", "object": "chat.completion", "created": 0, "model": model}
        return self._answer(200, {**answer, "choices": [{**choice, "message": message}]})

    def _stream(self, model: str, text: str, user: str | None) -> None:
        breaks = user == "breaks"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.close_connection = user in ("breaks", "goes on")
        for part in cycle(text) if user == "goes on" else (*text, None):
            if part is None and breaks:
                return
            finish = "stop" if part is None else None
            choice = {"index": 0, "delta": {"content": part or ""}, "finish_reason": finish}
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": model}
            self._write(f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n")
        self._write("data: [DONE]\n\n")
        self._write("")

    def _write(self, text: str) -> None:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def weight(folder: str) -> str:
    """Read the only number of an adapter."""
    content = (Path(folder) / "adapter_model.safetensors").read_bytes()
    return f"{struct.unpack('<f', content[-4:])[0]:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("host", "port", "lora-path", "served-model-name", "server-args-json"):
        parser.add_argument(f"--{name}", required=True)
    known, _ = parser.parse_known_args()
    with Server(
        (known.host, int(known.port)),
        served=known.served_model_name,
        adapter=known.lora_path,
        key=json.loads(known.server_args_json)["api_key"],
    ) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
