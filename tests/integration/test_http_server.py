"""The HTTP server of the trainer's endpoint and the gateway: how its connections are set up."""

from __future__ import annotations

import socket
from http.client import HTTPConnection
from typing import Any

import pytest

from babylon_tasks.http_server.server import HttpServer

pytestmark = pytest.mark.contract(None)


def test_no_answer_waits_for_the_acknowledgement_of_its_head() -> None:
    found: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection = scope["state"]["connection"].transport.get_extra_info("socket")
        found.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = HttpServer(app, host="127.0.0.1", port=0, requests=1, stop_seconds=1, name="test")
    server.start()
    try:
        client = HTTPConnection("127.0.0.1", server.port, timeout=60)
        client.request("GET", "/")
        assert client.getresponse().status == 204
        client.close()
    finally:
        server.stop()
    assert found
    assert all(found), "Nagle's algorithm is off"
