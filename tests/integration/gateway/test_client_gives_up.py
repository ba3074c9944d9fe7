"""An agent gives up: its request is cancelled at the server and counted, its place is free."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Semaphore, Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from babylons_clients import AI_SDK, QUESTION, ask
from endpoint import PATIENCE, head, until
from gateways import KEY, Played, opened
from prometheus_client import REGISTRY

from babylon_tasks.db.session import Connection
from babylon_tasks.http_server import deliver
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

MODELS = ("tests", "m")  # a checkpoint's, and another server's
ASKED = [
    {"client": client, "stream": stream, "model": model}
    for client in AI_SDK
    for stream in (False, True)
    for model in MODELS
]


class SilentServer:
    """It takes questions and answers none; ``left`` counts those whose connection was closed.

    At ``/asked`` it answers once as many questions are there as the test asks.
    """

    def __init__(self) -> None:
        self.came = self.left = 0
        self._asked, self._mutex = Semaphore(0), Lock()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if QUESTION["content"].encode() not in body:
                    return  # the gateway's own, at its start
                with peer._mutex:
                    peer.came += 1
                    if peer.came % len(ASKED) == 0:
                        peer._asked.release(len(ASKED))
                if self.rfile.read(1) == b"":
                    with peer._mutex:
                        peer.left += 1

            def do_GET(self) -> None:
                peer._asked.acquire(timeout=PATIENCE)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> SilentServer:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with SilentServer() as made:
        yield made


def gone() -> float:
    """How many clients did not wait, by the gateway's metric."""
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "babylon_gateway_duration_seconds_count"
        and sample.labels["code"] == "499"
    )


def test_nobody_goes_on_for_an_agent_that_has_given_up(
    make_settings: Callable[..., Settings],
    connection: Connection,
    tmp_path: Path,
    silent: SilentServer,
) -> None:
    settings: dict[str, Any] = {
        "gateway_upstreams": {"other": {"base_url": f"{silent.url}/v1", "models": ["m"]}},
        "gateway_max_requests": len(ASKED),
        "gateway_timeout_seconds": 100 * PATIENCE,  # nothing else ends them
    }
    counted = gone()
    giving_up = [{**one, "abortOn": f"{silent.url}/asked"} for one in ASKED]
    with opened(make_settings, connection, f"{silent.url}/v1", tmp_path, **settings) as url:
        for rounds in (1, 2):  # in the second there is a place for each again
            for request, found in zip(ASKED, ask(url, *giving_up), strict=True):
                assert found.get("error") == "AbortError", (request, found)
            so_far = rounds * len(ASKED)
            until(lambda: (silent.came, silent.left) == (so_far, so_far))  # noqa: B023
            until(lambda: gone() == counted + so_far)  # noqa: B023
            until(lambda: REGISTRY.get_sample_value("babylon_gateway_in_progress") == 0)


@pytest.mark.parametrize("model", MODELS)
def test_who_does_not_read_a_stream_is_cut_off(
    played: Callable[..., AbstractContextManager[Played]],
    monkeypatch: pytest.MonkeyPatch,
    model: str,
) -> None:
    monkeypatch.setattr(deliver, "FLUSH_SECONDS", 0.2)
    counted = gone()
    body = json.dumps({"model": model, "messages": [QUESTION], "stream": True}).encode()
    with played(gateway_timeout_seconds=100 * PATIENCE) as made, socket.socket() as connection:
        for server in (made.trainer, made.other):
            server.says("buy" * 2**22)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", urlsplit(made.url).port))
        connection.sendall(head(length=len(body), key=KEY) + body)
        until(lambda: gone() == counted + 1)
        assert REGISTRY.get_sample_value("babylon_gateway_in_progress") == 0
