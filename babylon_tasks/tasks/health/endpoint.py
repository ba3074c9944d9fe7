"""The HTTP port of a process: ``/metrics`` for Prometheus, ``/livez`` and ``/readyz`` for probes.

The gateway answers probes on its own port and has only ``/metrics`` here.

Only for the inside of a deployment: it needs no login and exposes no secret.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.client import LineTooLong
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from babylon_tasks.errors import SettingsError
from babylon_tasks.http_server.limits import HEAD_BYTES
from babylon_tasks.tasks.health.liveness import Probe

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

# A thread each: with those of the process itself fewer than Compose allows it (pids: 64).
MOST_CONNECTIONS = 32
log = structlog.get_logger(__name__)


class Endpoint:
    """A server in a daemon thread; raises SettingsError where its port is taken."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, probe: Probe | None = None
    ) -> None:
        server = _Server6 if ":" in host else _Server
        try:
            self._server = make_server(
                host, port, _application(registry, probe), server, _QuietHandler
            )
        except OSError as error:
            raise SettingsError(
                f"BABYLON_METRICS_PORT {port} on {host} cannot be opened: {error.strerror}; "
                "each process on a machine needs its own"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()
        log.info("endpoint.opened", host=host, port=self._server.server_port)

    def forget(self) -> None:
        """Close the parent's socket in a forked child: the port would outlive the parent."""
        self._server.socket.close()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _application(
    registry: CollectorRegistry, probe: Probe | None
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    metrics = make_wsgi_app(registry)
    probes = {} if probe is None else {"/livez": probe.alive, "/readyz": probe.ready}

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        status, text = "404 Not Found", ", ".join(("/metrics", *probes))
        if path in probes:
            good, text = probes[path]()
            status = "200 OK" if good else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    return application


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection; beyond the bound the oldest one is closed.

    So a probe is answered however many connections stay half open.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *given: Any) -> None:
        self._open: dict[Any, None] = {}  # the oldest first
        self._lock = threading.Lock()
        super().__init__(*given)

    def process_request(self, request: Any, client_address: Any) -> None:
        oldest = None
        with self._lock:
            self._open[request] = None
            if len(self._open) > MOST_CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
        if oldest is not None:
            with suppress(OSError):  # it may have ended meanwhile
                oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log what is a fault of ours: anybody can hang up, or send nothing for too long."""
        if not isinstance(sys.exception(), OSError):
            log.exception("endpoint.failed")

    def server_bind(self) -> None:
        # The standard library's version looks up its own name, which hangs where DNS is blocked.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    timeout = 10  # an idle client must not occupy a thread forever

    def setup(self) -> None:
        super().setup()
        self.rfile = _Head(self.rfile)  # type: ignore[assignment]  # nothing else of it is read

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a line for every probe would flood the log."""


class _Head:
    """The lines of a request's head, which the standard library bounds one by one: 6.5 MB of each
    connection. Reading on after the bound raises LineTooLong, which it answers with a refusal."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = HEAD_BYTES

    def readline(self, most: int) -> bytes:
        if self._left < 0:
            raise LineTooLong("head of the request")
        line: bytes = self._file.readline(min(most, self._left + 1))
        self._left -= len(line)
        return line

    def close(self) -> None:
        self._file.close()
