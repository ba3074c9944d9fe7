"""Flower's HTTP server, bounded: anybody who reaches its port can send to it, without a login.

Tornado reads a whole body into memory before Flower looks at the login: up to 100 MB for each
connection. It waits an hour for a request to come, on any number of connections.
"""

from __future__ import annotations

from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

# Flower's pages ask by GET, and read-only Flower refuses what else there is.
_MAX_BODY_BYTES = 64 * 1024
_MAX_BUFFERED_BYTES = 1024 * 1024
_IDLE_SECONDS = 60.0
_BODY_SECONDS = 10.0
MOST_CONNECTIONS = 256


class BoundedServer(HTTPServer):
    """Close the oldest connection beyond the bound, so that a new one is always answered."""

    def initialize(self, *given: Any, **options: Any) -> None:
        """Take what Flower passes, and set the bounds."""
        self._open: dict[IOStream, None] = {}  # the oldest first
        bounds = {
            "max_body_size": _MAX_BODY_BYTES,
            "max_buffer_size": _MAX_BUFFERED_BYTES,
            "idle_connection_timeout": _IDLE_SECONDS,
            "body_timeout": _BODY_SECONDS,
        }
        super().initialize(*given, **(options | bounds))

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Serve one connection."""
        self._open[stream] = None
        super().handle_stream(stream, address)
        if len(self._open) > MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.close()

    def on_close(self, server_conn: Any) -> None:
        """Forget a connection that has ended."""
        self._open.pop(server_conn.stream, None)
        super().on_close(server_conn)
