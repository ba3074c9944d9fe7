"""Serve an application from a thread of its own: the listening socket, uvicorn, and their end."""

from __future__ import annotations

import asyncio
import socket
import threading
from functools import partial
from typing import Any, Literal

import uvicorn

from babylon_tasks.http_server.connections import Connections, HttpConnection, most_connections
from babylon_tasks.http_server.limits import HEAD_BYTES, KEEP_ALIVE_SECONDS


class HttpServer:
    """Serve an ASGI application with bounded connections; ``port`` 0 chooses one.

    ``requests`` are in progress at once at most. A stop lets them go on for ``stop_seconds``. With
    ``lifespan`` the application hears of its start and end, in its event loop.
    """

    def __init__(
        self,
        app: Any,
        *,
        host: str,
        port: int,
        requests: int,
        stop_seconds: int,
        name: str,
        lifespan: Literal["on", "off"] = "off",
    ) -> None:
        self.host = host
        self.port = port
        self.connections = Connections(most_connections(requests))
        self._app = app
        self._stop_seconds = stop_seconds
        self._name = name
        self._lifespan: Literal["on", "off"] = lifespan
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind and serve; raises OSError when the port is taken."""
        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            loop="asyncio",  # ART applies nest_asyncio, which uvloop does not support
            http=partial(HttpConnection, self.connections),  # type: ignore[arg-type]
            ws="none",
            lifespan=self._lifespan,
            interface="asgi3",
            log_level="error",  # anybody can cause a warning
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=self._stop_seconds,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=_run, args=(self._server, listener), name=self._name, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and wait for the thread."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=self._stop_seconds + 1)


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    # Not by uvicorn's own `run`: on Python 3.12 it passes an argument to asyncio.run that
    # nest_asyncio's, which ART puts in its place, does not take, and nothing would be served.
    with asyncio.Runner() as runner:
        runner.run(server.serve(sockets=[listener]))


def _listen(host: str, port: int) -> socket.socket:
    """Listen on an IPv4 or IPv6 address, or on what a name means; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    # asyncio sets TCP_NODELAY only where the protocol is named. Without it an answer whose head was
    # sent waits 40 ms for the client's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # "::" is IPv4 too
        listener.bind(address)
        listener.listen()  # before the port is announced: clients may connect at once
    except OSError:
        listener.close()
        raise
    return listener
