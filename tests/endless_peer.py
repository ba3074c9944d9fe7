"""A loopback server that answers whatever it is asked, and does not come to an end."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

MEGABYTE = 2**20
# Where it stops after all, for whom it would have filled the memory: far more than both kernels
# hold of a connection.
MOST = 64 * MEGABYTE


class EndlessPeer:
    """``poured``: how many bytes each answer had before its client hung up.

    ``kind``: answer, error, redirect: of that status, without end; length: it says how long;
    heads: a head without end; packed: a kilobyte that unpacks to a megabyte.
    """

    KINDS = ("answer", "error", "redirect", "length", "heads", "packed")

    def __init__(self, kind: str) -> None:
        assert kind in self.KINDS
        self.poured: list[int] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                place = len(peer.poured)
                peer.poured.append(0)
                try:
                    for part in peer._answer(kind):
                        self.wfile.write(part)
                        peer.poured[place] += len(part)
                except OSError:
                    pass
                self.close_connection = True

            do_GET = do_DELETE = do_POST

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> EndlessPeer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The base URL that a client is given."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def _answer(self, kind: str) -> Iterator[bytes]:
        status = {"error": "500 Internal Server Error", "redirect": "307 Temporary Redirect"}
        yield f"HTTP/1.1 {status.get(kind, '200 OK')}\r\n".encode()
        yield b"Content-Type: application/json\r\n"
        if kind == "redirect":
            yield f"Location: {self.url}/elsewhere\r\n".encode()
        if kind == "packed":
            packed = gzip.compress(b" " * MEGABYTE)
            length = str(len(packed)).encode()
            yield b"Content-Encoding: gzip\r\nContent-Length: " + length + b"\r\n\r\n" + packed
            return
        if kind == "heads":
            for _ in range(MOST // 1024):
                yield b"X: " + b"y" * 1019 + b"\r\n"
            return
        if kind == "length":
            yield f"Content-Length: {MOST}\r\n".encode()
        yield b'\r\n{"id": "'  # else it ends where the connection does
        for _ in range(MOST // MEGABYTE):
            yield b"x" * MEGABYTE
