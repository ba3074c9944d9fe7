"""A TCP proxy on loopback whose connections can be cut, refused, or left half-open.

Half-open: both ends stay connected and what they send is acknowledged, but nothing arrives, as
behind a load balancer, NAT or pooler that has failed over.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self

HOST = "127.0.0.1"
_CHUNK = 65_536


class TcpProxy:
    """``port`` forwards to ``target`` on loopback; use as a context manager."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy")
        self._accepts = True
        self._swallowed: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, HOST, 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def half_open(self) -> int:
        """Let nothing through the present connections, for ever; returns how many there are."""
        return self._run(self._half_open())

    def cut(self) -> None:
        """Reset the present connections."""
        self._run(self._cut())

    def refuse(self, refused: bool = True) -> None:
        """Reset new connections at once, or take them again."""
        self._accepts = not refused

    async def _half_open(self) -> int:
        present = set(self._open) - self._swallowed
        self._swallowed |= present
        return len(present)

    async def _cut(self) -> None:
        for writers in list(self._open.values()):
            for writer in writers:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if not self._accepts:
            writer.transport.abort()
            return
        self._open[task] = [writer]
        try:
            there, back = await asyncio.open_connection(HOST, self._target)
            self._open[task].append(back)
            ways = (self._forward(task, reader, back), self._forward(task, there, writer))
            await asyncio.gather(*ways)
        except OSError:
            pass  # the target is down or one end has gone: so is the other
        finally:
            for opened in self._open.pop(task):
                opened.transport.abort()
            self._swallowed.discard(task)

    async def _forward(
        self, task: asyncio.Task[None], source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(_CHUNK):
            if task not in self._swallowed:
                sink.write(data)
                await sink.drain()
        if task in self._swallowed:  # its other end must not learn of it
            await self._closing.wait()
        if sink.can_write_eof():
            sink.write_eof()

    async def _close(self) -> None:
        self._server.close()
        tasks = list(self._open)
        self._closing.set()
        await self._cut()
        await asyncio.gather(*tasks)

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)
