"""Serve the endpoint from a thread of its own: the listening socket, uvicorn, and their end."""

from __future__ import annotations

import asyncio
import socket
import threading
from functools import partial

import uvicorn

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.training.inference.app import App
from babylon_tasks.training.inference.chat import Chat
from babylon_tasks.training.inference.connections import (
    Connections,
    HttpConnection,
    most_connections,
)
from babylon_tasks.training.inference.limits import HEAD_BYTES, KEEP_ALIVE_SECONDS, Limits
from babylon_tasks.training.policy import Policy

_STOP_SECONDS = 10


class InferenceServer:
    """Serve one lineage's checkpoints; ``port`` 0 chooses one."""

    def __init__(
        self,
        policy: Policy,
        lineage: str,
        *,
        host: str,
        port: int,
        api_key: str,
        limits: Limits | None = None,
    ) -> None:
        self.host = host
        self.port = port
        limits = limits or Limits()
        self.connections = Connections(most_connections(limits.requests))
        self._chat = Chat(policy, lineage, limits)
        self._app = App(self._chat, api_key)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def in_progress(self) -> int:
        """How many requests are being read, waiting or answered."""
        return self._chat.in_progress

    @property
    def sampling(self) -> int:
        """How many of them are in the batch that is sampled now."""
        return self._chat.sampling

    def start(self) -> None:
        """Bind and serve; raises BackendUnavailable when the port is taken."""
        try:
            listener = _listen(self.host, self.port)
        except OSError as error:
            raise BackendUnavailable(
                f"inference cannot listen on {self.host} port {self.port}: {error.strerror}; "
                "another trainer may be running, or set BABYLON_INFERENCE_PORT"
            ) from error
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            loop="asyncio",  # ART applies nest_asyncio, which uvloop does not support
            http=partial(HttpConnection, self.connections),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_level="error",  # anybody can cause a warning
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_STOP_SECONDS,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=_run, args=(self._server, listener), name="inference", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and wait for the thread."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=_STOP_SECONDS + 1)
        self._chat.close()


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    # Not by uvicorn's own `run`: on Python 3.12 it passes an argument to asyncio.run that
    # nest_asyncio's, which ART puts in its place, does not take, and nothing would be served.
    with asyncio.Runner() as runner:
        runner.run(server.serve(sockets=[listener]))


def _listen(host: str, port: int) -> socket.socket:
    """Listen on an IPv4 or IPv6 address, or on what a name means; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    listener = socket.socket(family, socket.SOCK_STREAM)
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
