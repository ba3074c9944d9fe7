"""Flower's server counts connections that are open, not those that were."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from babylon_tasks.tasks.flower import bounded_server
from babylon_tasks.tasks.flower.bounded_server import BoundedServer

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
pytestmark = pytest.mark.contract(None)


class Page(RequestHandler):
    def get(self) -> None:
        self.write("here")


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(bounded_server, "MOST_CONNECTIONS", 4)
    (listener,) = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    ended = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = BoundedServer(Application([("/", Page)]))
        server.add_sockets([listener])
        await ended.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    yield listener.getsockname()[1]
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    loop.close()


def answered(connection: socket.socket) -> bool:
    """Whether it still takes a request; False once the server has closed it."""
    try:
        connection.sendall(ASK)
        return connection.recv(65536).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def test_the_oldest_goes_for_one_too_many(port: int) -> None:
    opened = [connect(port) for _ in range(5)]
    assert [answered(one) for one in reversed(opened)] == [True] * 4 + [False]
    for one in opened:
        one.close()


def test_a_page_that_stays_open_survives_any_number_that_do_not(port: int) -> None:
    with connect(port) as stays:
        assert answered(stays)
        for _ in range(20):
            with connect(port) as other:
                assert answered(other)
                other.shutdown(socket.SHUT_WR)
                assert other.recv(1) == b""  # the server has seen its end
        assert answered(stays)
