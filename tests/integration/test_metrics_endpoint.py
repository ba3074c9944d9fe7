"""The port of probes and metrics answers, whoever else is connected to it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from babylon_tasks.sandbox.servers import free_port
from babylon_tasks.tasks.health.bounded_check import BoundedCheck
from babylon_tasks.tasks.health.endpoint import MOST_CONNECTIONS, Endpoint, _QuietHandler
from babylon_tasks.tasks.health.liveness import Probe, Pulse

pytestmark = pytest.mark.contract(None)


@pytest.fixture(params=["127.0.0.1", "::1"])
def address(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    pulse = Pulse()
    pulse.turn()
    probe = Probe(pulse, BoundedCheck("Redis", lambda _: None))
    port = free_port()
    endpoint = Endpoint(request.param, port, CollectorRegistry(), probe)
    yield request.param, port
    endpoint.close()


def test_half_open_connections_take_neither_the_probe_nor_threads_without_end(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_QuietHandler, "timeout", None)  # no silence ends one
    half_open = []
    for number in range(10 * MOST_CONNECTIONS):
        half_open.append(socket.create_connection(address))
        half_open[-1].sendall((b"", b"G", b"GET /livez HTTP/1.1\r\nX: ")[number % 3])

    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    assert httpx.get(f"http://{host}:{address[1]}/metrics").status_code == 200
    half_open[0].settimeout(30)
    assert half_open[0].recv(1) == b""  # the oldest was closed
    deadline = time.monotonic() + 30
    while threading.active_count() > MOST_CONNECTIONS + 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= MOST_CONNECTIONS + 20
    for connection in half_open:
        connection.close()
