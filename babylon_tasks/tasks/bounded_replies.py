"""Read replies of Redis in bounded memory: whoever writes to a queue chooses how long one is.

redis-py keeps a reply three times while it is read: an entry of 400 MB took 1.2 GB. Here the
beginning of one that is too long is kept, and the rest is read and dropped.
"""

from __future__ import annotations

from typing import Any

from redis._parsers.resp3 import _RESP3Parser
from redis._parsers.socket import SocketBuffer

MAX_REPLY_BYTES = 8 * 1024 * 1024  # the answers of all workers to a command fit easily
_KEPT_BYTES = 4096
_CHUNK_BYTES = 64 * 1024


class Oversized(bytes):
    """The beginning of a reply that was too long; ``size`` is that of the whole."""

    size: int


class BoundedParser(_RESP3Parser):
    """redis-py's parser for one connection; what is too long becomes ``Oversized``."""

    def on_connect(self, connection: Any) -> None:
        """Begin to read from a new socket."""
        super().on_connect(connection)  # type: ignore[no-untyped-call]
        self._buffer = _Buffer(connection._sock, self.socket_read_size, connection.socket_timeout)


class _Buffer(SocketBuffer):
    def read(self, length: int, *args: Any, **options: Any) -> bytes:
        if length <= MAX_REPLY_BYTES:
            return super().read(length, *args, **options)
        kept, left = b"", length + len(b"\r\n")
        while left:
            chunk = self._buffer.read(min(left, _CHUNK_BYTES))
            if chunk:
                left -= len(chunk)
                kept += chunk[: _KEPT_BYTES - len(kept)]
            else:
                self._buffer.seek(0)
                self._buffer.truncate()
                self._read_from_socket()
        oversized = Oversized(kept)
        oversized.size = length
        return oversized
