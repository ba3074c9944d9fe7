"""Connections that stay half open, are too many, or never read: none of them keeps agents out."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Callable
from contextlib import suppress

import pytest
from endpoint import ASKED, PATIENCE, Endpoint, answer, head, read_all, until

from babylon_tasks.http_server import connections, deliver, server
from babylon_tasks.training.policy import Policy

Serve = Callable[..., Endpoint]
HALF = b"POST /v1/chat/completions HTTP/1.1\r\nHost: tests\r\n"


@pytest.mark.parametrize("sent", [b"", b"P", HALF, HALF + b"Authorization: Bearer key\r\n"])
def test_a_connection_without_a_request_is_closed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    endpoint = serve()

    with endpoint.raw(sent) as connection:
        assert read_all(connection) == b""
    assert endpoint.is_healthy()


def test_single_bytes_do_not_keep_a_connection_open(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1)  # longer than any pause between bytes
    with serve().raw(HALF + b"X: ") as connection:
        connection.settimeout(0.01)
        answer, closed = b"", False
        while not closed:
            try:
                connection.sendall(b"x")
                answer += (more := connection.recv(65536))
                closed = not more
            except TimeoutError:
                continue
            except ConnectionError:
                closed = True
        assert answer == b"", "not even one that the head is too long"


def test_nor_do_they_after_a_request(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with serve().raw(health) as connection:
        replied = b""
        while not replied.endswith(b'{"status":"ok"}'):
            replied += connection.recv(65536)
        connection.sendall(b"P")
        assert read_all(connection) == b""


def test_an_idle_connection_is_kept_longer_than_others_keep_theirs(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.KEEP_ALIVE_SECONDS > 90  # Go's net/http and Rust's reqwest; nginx keeps one 60 s
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 0.2)
    with serve().raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        assert read_all(connection).endswith(b'{"status":"ok"}')


def test_a_request_in_progress_is_not_cut_off_by_the_time_for_its_head(
    serve: Serve, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    endpoint = serve()
    with policy.lock:
        asked = endpoint.ask()
        endpoint.in_progress(1)
        with endpoint.raw(HALF) as other:
            assert read_all(other) == b""  # the time is over
    assert asked.recv(65536).startswith(b"HTTP/1.1 200")
    asked.close()


def test_strangers_make_room_for_those_who_have_the_key(
    serve: Serve, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1000)  # nothing else closes them
    endpoint = serve()
    endpoint.server.connections.limit = 20
    with policy.lock:
        asked = endpoint.ask(n=2)
        endpoint.in_progress(1)
        half_open = [endpoint.raw(HALF) for _ in range(100)]
        until(lambda: endpoint.server.connections.evicted >= 81)
        assert endpoint.is_healthy()
        second = endpoint.ask(n=3)
        endpoint.in_progress(2)
        assert len(endpoint.server.connections) <= 20

    for connection in (asked, second):
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.close()
    assert read_all(half_open[0]) == b""  # the oldest first
    for connection in half_open:
        connection.close()


def test_idle_connections_with_the_key_outlast_strangers(serve: Serve) -> None:
    endpoint = serve()
    endpoint.server.connections.limit = 5
    with endpoint.client() as client:
        client.models.list()
        strangers = [endpoint.raw() for _ in range(30)]
        until(lambda: endpoint.server.connections.evicted >= 26)
        opened = endpoint.server.connections.evicted
        client.models.list()  # by the same connection
        assert endpoint.server.connections.evicted == opened
        for connection in strangers:
            connection.close()


def test_where_every_connection_carries_a_request_a_new_one_is_told_so(
    serve: Serve, policy: Policy
) -> None:
    endpoint = serve()
    endpoint.server.connections.limit = 1
    with policy.lock, endpoint.ask():
        endpoint.in_progress(1)
        with endpoint.raw() as connection:
            raw = read_all(connection)
    assert b"retry-after: " in raw
    status, given = answer(raw)
    assert (status, given["error"]["type"]) == (503, "server_error")


def test_a_client_that_asks_and_never_reads_is_cut_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "FLUSH_SECONDS", 0.2)
    endpoint = serve()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(endpoint.address)
    until(lambda: len(endpoint.server.connections) == 1)
    flood = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 40_000
    with connection:
        with suppress(ConnectionError):
            connection.sendall(flood)
        until(lambda: not len(endpoint.server.connections))


def test_a_body_of_nothing_but_the_key_holds_its_place_no_longer_than_its_connection(
    serve: Serve,
) -> None:
    endpoint = serve(requests=3)
    slow = [endpoint.raw(head(length=1000)) for _ in range(3)]
    endpoint.in_progress(3)
    for connection in slow:
        connection.close()

    endpoint.in_progress(0)
    body = json.dumps(ASKED).encode()
    with endpoint.raw(head(length=len(body)) + body) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("close", [True, False], ids=["asked to close", "kept"])
def test_an_answer_that_nobody_reads_is_thrown_away(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, close: bool
) -> None:
    monkeypatch.setattr(connections, "FLUSH_SECONDS", 0.2)
    monkeypatch.setattr(deliver, "FLUSH_SECONDS", 0.2)
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 10 * PATIENCE)  # it is not idle yet
    listen = server._listen

    def listen_with_small_buffers(host: str, port: int) -> socket.socket:
        listener = listen(host, port)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return listener

    monkeypatch.setattr(server, "_listen", listen_with_small_buffers)
    endpoint = serve()
    body = json.dumps({**ASKED, "n": 32, "max_tokens": 12, "logprobs": True}).encode()
    sent = head(length=len(body))
    if close:
        sent = sent.replace(b"Host:", b"Connection: close\r\nHost:")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(endpoint.address)
    with connection:
        connection.sendall(sent + body)
        endpoint.in_progress(1)
        until(lambda: not len(endpoint.server.connections))
        assert len(read_all(connection)) < 30_000  # of about 40,000 bytes


def test_connections_leave_descriptors_for_the_model() -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1000, usual[0]), usual[1]))
    try:
        assert connections.most_connections(100) == 100 + connections.SPARE_CONNECTIONS
        assert connections.most_connections(10_000) == min(1000, usual[0]) // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
