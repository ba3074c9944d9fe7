"""A flood of connections that never ask: the gateway keeps few of them, and answers its agents."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from endpoint import PATIENCE, until
from gateways import KEY, Played

from babylon_tasks.http_server import connections, server

pytestmark = pytest.mark.contract(None)

REQUESTS, SPARE = 4, 16
LIMIT = REQUESTS + SPARE
FLOOD = 5 * LIMIT
ASKED: dict[str, Any] = {"model": "tests", "messages": [{"role": "user", "content": "?"}]}
SENT = (
    b"",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 500,  # TLS
    b"\x00" * 4096,
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n",  # and never the rest
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n",
)


def ask(agent: HTTPConnection) -> int:
    """The status of an answer, on the connection that the agent has, or on its first."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    agent.request("POST", "/v1/chat/completions", json.dumps(ASKED), headers)
    agent.auto_open = 0
    reply = agent.getresponse()
    reply.read()
    return reply.status


def kept(port: int) -> int:
    """How many connections the gateway has open."""
    return sum(
        one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port
        for one in psutil.Process().net_connections("tcp4")
        if one.laddr
    )


def test_agents_are_answered_in_a_flood_of_connections_without_a_request(
    played: Callable[..., AbstractContextManager[Played]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SPARE_CONNECTIONS", SPARE)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 10 * PATIENCE)  # nothing else closes them
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 10 * PATIENCE)
    with played(gateway_max_requests=REQUESTS) as made, ExitStack() as stack:
        port = urlsplit(made.url).port
        assert port is not None

        def agent() -> HTTPConnection:
            return stack.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)))

        agents = [agent() for _ in range(REQUESTS)]
        assert [ask(one) for one in agents] == [200] * REQUESTS
        for sent in itertools.islice(itertools.cycle(SENT), FLOOD):
            one = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            stack.enter_context(closing(one))
            with suppress(ConnectionError):  # it may be closed already
                one.sendall(sent)
        assert [ask(one) for one in agents] == [200] * REQUESTS, "on their connections"
        assert ask(agent()) == 200, "and one that comes now"
        until(lambda: kept(port) <= LIMIT)
