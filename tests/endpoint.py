"""An inference endpoint in the test's own process, and clients that are not OpenAI's."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from openai import OpenAI

from babylon_tasks.addresses import host_and_port
from babylon_tasks.training.inference.limits import Limits
from babylon_tasks.training.inference.server import InferenceServer
from babylon_tasks.training.policy import Policy

KEY = "default"
ASKED: dict[str, Any] = {
    "model": "tests@0",
    "messages": [{"role": "user", "content": "Will ACME close higher?"}],
    "max_tokens": 4,
}
PATIENCE = 120.0


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that happens in a thread of the server."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@dataclass
class Endpoint:
    """A server, the model behind it, and how many rows each pass of the model had."""

    server: InferenceServer
    policy: Policy
    rows: list[int] = field(default_factory=list)

    @classmethod
    @contextmanager
    def served(
        cls, policy: Policy, host: str, limits: Limits, lineage: str = "tests", key: str = KEY
    ) -> Iterator[Endpoint]:
        server = InferenceServer(policy, lineage, host=host, port=0, api_key=key, limits=limits)
        made = cls(server, policy)
        hook = policy.network.register_forward_pre_hook(
            lambda _, __, given: made.rows.append(len(given["input_ids"])), with_kwargs=True
        )
        server.start()
        try:
            yield made
        finally:
            server.stop()
            hook.remove()

    @property
    def address(self) -> tuple[str, int]:
        return self.server.host, self.server.port

    @property
    def url(self) -> str:
        return f"http://{host_and_port(*self.address)}"

    def client(self, **options: Any) -> OpenAI:
        options = {"api_key": KEY, "max_retries": 0, **options}
        return OpenAI(base_url=f"{self.url}/v1", **options)

    def raw(self, sent: bytes = b"") -> socket.socket:
        """A connection on which these bytes were sent, whatever they are."""
        made = socket.create_connection(self.address, timeout=PATIENCE)
        made.sendall(sent)
        return made

    def ask(self, **fields: Any) -> socket.socket:
        """A connection on which a question was asked; nobody reads the answer yet."""
        return self.raw(request(json.dumps({**ASKED, **fields}).encode()))

    def sampled_together(self, count: int) -> None:
        """Wait until this many requests are in the batch that is sampled now."""
        until(lambda: self.server.sampling == count)

    def in_progress(self, count: int) -> None:
        """Wait until this many requests are in progress."""
        until(lambda: self.server.in_progress == count)

    def is_healthy(self) -> bool:
        return httpx.get(f"{self.url}/health").json() == {"status": "ok"}


def head(*, length: int | None = None, key: str = KEY, path: str = "/v1/chat/completions") -> bytes:
    """The head of a request whose body has this length, or comes in chunks."""
    body = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST {path} HTTP/1.1\r\nHost: tests\r\nAuthorization: Bearer {key}\r\n{body}\r\n\r\n"
    ).encode()


def request(body: bytes) -> bytes:
    return head(length=len(body)) + body


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes or resets the connection."""
    found = b""
    try:
        while data := connection.recv(65536):
            found += data
    except ConnectionError:
        pass
    return found


def answer(raw: bytes) -> tuple[int, dict[str, Any]]:
    """The status and the JSON of an answer."""
    top, _, body = raw.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(body)
