"""Connections to the endpoint: how many there may be, and how long one may be silent.

uvicorn waits for the head of a request, and for a client that does not read its answer, for ever,
and bounds requests but not connections. Both are bounded here. Where there is no room for a new
connection, one that carries no request makes it: the oldest of those that have never sent the key,
else the one that has been idle longest. So nobody without the key keeps out those who have it.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from babylon_tasks.http_server.limits import (
    FLUSH_SECONDS,
    HEAD_SECONDS,
    RETRY_AFTER_SECONDS,
    SPARE_CONNECTIONS,
)
from babylon_tasks.http_server.refusals import Refused


class Connections:
    """All open connections of one endpoint, at most ``limit``; used in its event loop only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.evicted = 0
        self._strangers: dict[HttpConnection, None] = {}  # never sent the key; the oldest first
        self._idle: dict[HttpConnection, None] = {}  # did; idle longest first
        self._serving: set[HttpConnection] = set()

    def __len__(self) -> int:
        return len(self._strangers) + len(self._idle) + len(self._serving)

    def opened(self, connection: HttpConnection) -> bool:
        """Count a new connection; returns False if there is no room, nor anybody to make it."""
        if len(self) >= self.limit:
            dispensable = self._strangers or self._idle
            if not dispensable:
                return False
            oldest = next(iter(dispensable))
            self.closed(oldest)
            self.evicted += 1
            oldest.transport.abort()
        self._strangers[connection] = None
        return True

    def closed(self, connection: HttpConnection) -> None:
        """Forget a connection."""
        self._strangers.pop(connection, None)
        self._idle.pop(connection, None)
        self._serving.discard(connection)

    def serves(self, connection: HttpConnection) -> None:
        """Note that a request with the right key is in progress: it keeps its connection."""
        self.closed(connection)
        self._serving.add(connection)

    def rests(self, connection: HttpConnection) -> None:
        """Note that a request has ended."""
        if connection in self._serving:
            self._serving.discard(connection)
            self._idle[connection] = None


def most_connections(requests: int) -> int:
    """Return how many connections to keep: files and checkpoints need descriptors too."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = requests + SPARE_CONNECTIONS
    return wanted if descriptors == resource.RLIM_INFINITY else min(wanted, descriptors // 2)


class HttpConnection(H11Protocol):
    """One connection as uvicorn's h11 implementation handles it, with deadlines.

    The application finds it as ``scope["state"]["connection"]``.
    """

    def __init__(
        self,
        connections: Connections,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self._all = connections
        self._deadline: asyncio.TimerHandle | None = None

    def serves(self) -> None:
        """Keep this connection until its request, which had the right key, is answered."""
        self._all.serves(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, or refuse the connection."""
        super().connection_made(transport)
        # A send waits until the kernel has all of the one before: what nobody reads is noticed.
        transport.set_write_buffer_limits(high=0)
        if self._all.opened(self):
            self._end_in(HEAD_SECONDS)
            return
        retry = {"retry-after": str(RETRY_AFTER_SECONDS)}
        self._answer(Refused(503, "there are too many connections", headers=retry))

    def data_received(self, data: bytes) -> None:
        """Hand data on; bytes alone do not extend the time for the head of a request."""
        if self._deadline is None and not self._in_request():
            self._end_in(HEAD_SECONDS)
        super().data_received(data)
        if self._in_request():
            self._end_in(None)

    def on_response_complete(self) -> None:
        """Wait for the next request, or until the client has read the answer."""
        self._all.rests(self)
        super().on_response_complete()  # may begin a request that is here already
        if self.transport.is_closing():
            self._end_in(FLUSH_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also one whose client does not read."""
        super().timeout_keep_alive_handler()
        self._end_in(FLUSH_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget this connection."""
        self._end_in(None)
        self._all.closed(self)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or has a head that is too long; called for h11's errors."""
        status = getattr(sys.exc_info()[1], "error_status_hint", 400)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._answer(Refused(status, f"{msg} {sys.exc_info()[1]}"))
        else:  # its answer has begun
            self.transport.abort()

    def _in_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _answer(self, refusal: Refused) -> None:
        body = refusal.body
        headers = {"content-type": "application/json", "connection": "close", **refusal.headers}
        response = h11.Response(
            status_code=refusal.status,
            headers=[*headers.items(), ("content-length", str(len(body)))],
            reason=HTTPStatus(refusal.status).phrase,
        )
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()
        self._end_in(FLUSH_SECONDS)

    def _end_in(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        self._deadline = None
        self.transport.abort()
