"""The port of probes and metrics answers, whoever else is connected to it."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from endpoint import PATIENCE, read_all, until
from gateways import NO_POSTGRES, started
from prometheus_client import CollectorRegistry

from babylon_tasks.http_server.limits import HEAD_BYTES
from babylon_tasks.sandbox.servers import free_port
from babylon_tasks.tasks.health.bounded_check import BoundedCheck
from babylon_tasks.tasks.health.endpoint import MOST_CONNECTIONS, Endpoint, _QuietHandler
from babylon_tasks.tasks.health.liveness import Probe, Pulse

ROOT = Path(__file__).parents[2]
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


HEAD = b"GET /livez HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /", b"x"),
        (b"", b"x"),
        (b"", b"x "),
        (HEAD + b"X: ", b"x"),
        (HEAD, b"X: " + b"x" * 4000 + b"\r\n"),
        (HEAD + b"X: y\r\n", b" z\r\n"),  # one header that goes on
    ],
)
def test_a_head_without_end_is_refused_at_its_16th_kilobyte(
    address: tuple[str, int], begin: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_QuietHandler, "timeout", None)  # no silence ends one
    head = begin + more * (HEAD_BYTES + 1)
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(head[: HEAD_BYTES + 1])
        assert read_all(connection).startswith((b"HTTP/1.0 4", b"<!DOCTYPE HTML>"))


def test_a_head_as_long_as_any_that_is_real_is_answered(address: tuple[str, int]) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 200) for number in range(60))
    with socket.create_connection(address) as connection:
        connection.sendall(HEAD + headers + b"\r\n")
        assert read_all(connection).startswith(b"HTTP/1.0 200")


def test_who_hangs_up_is_no_line_of_the_log(
    address: tuple[str, int], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    before = threading.active_count()
    for sent in (b"", b"GET", HEAD, b"GET /metrics HTTP/1.1\r\n\r\n"):
        connection = socket.create_connection(address)
        connection.sendall(sent)
        reset = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        connection.close()
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    assert httpx.get(f"http://{host}:{address[1]}/livez").status_code == 200
    until(lambda: threading.active_count() == before)
    shown = capfd.readouterr()
    assert "Traceback" not in shown.err + shown.out
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_forked_child_does_not_hold_its_parents_port() -> None:
    """As Celery's pool: a child outlives a worker that was killed, and the next needs the port."""
    port = free_port()
    probe = Probe(Pulse(), BoundedCheck("Redis", lambda _: None))
    endpoint = Endpoint("127.0.0.1", port, CollectorRegistry(), probe)
    forgotten, note = os.pipe()
    ended, end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(end)
            endpoint.forget()
            os.write(note, b"!")
            os.read(ended, 1)
        finally:
            os._exit(0)
    try:
        os.read(forgotten, 1)
        endpoint.close()
        Endpoint("127.0.0.1", port, CollectorRegistry(), probe).close()
    finally:
        for descriptor in (end, forgotten, note, ended):
            os.close(descriptor)
        os.waitpid(child, 0)


def is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics").status_code == 200
    except httpx.TransportError:
        return False


def test_half_open_connections_take_no_more_threads_than_a_gateways_container_has(
    tmp_path: Path,
) -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    pids = compose["services"]["gateway"]["deploy"]["resources"]["limits"]["pids"]
    port = free_port()
    ports = {"metrics_port": port, "gateway_port": free_port()}
    with started(tmp_path, NO_POSTGRES, **ports) as gateway, ExitStack() as held:
        until(lambda: is_up(port))
        process = psutil.Process(gateway.pid)
        half_open = [
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(2 * pids)
        ]

        def goes_on() -> bool:
            for one in half_open:
                with suppress(ConnectionError):  # the oldest are closed
                    one.send(b"x")  # so that no silence ends it
            return process.num_threads() < pids

        # Whoever is answered comes after all of them.
        assert "babylon_gateway_calls_total" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 404, "not on this port"
        until(goes_on)


def test_a_gateway_whose_metrics_port_is_taken_says_which_setting_that_is(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"metrics_port": port, "gateway_port": free_port()}
        with started(tmp_path, NO_POSTGRES, **ports) as gateway:
            assert gateway.wait(PATIENCE) == 2
    said = (tmp_path / "log").read_text("utf-8")
    assert said.splitlines()[-1].startswith(f"BABYLON_METRICS_PORT {port} on 127.0.0.1 cannot")
    assert "Traceback" not in said
