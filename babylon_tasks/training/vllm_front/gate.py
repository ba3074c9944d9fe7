"""Whether vLLM may be asked now: the agents' requests pass, or wait until they may."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# Requests come in the endpoint's event loop, the trainer closes in its own: both look this often.
_LOOK_SECONDS = 0.1


class Gate:
    """Closed at first; usable from any thread's event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self._inside = 0

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Wait until it is open, and count as inside; the caller bounds the wait."""
        while not self._enter():
            await asyncio.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1

    async def close(self, seconds: float) -> None:
        """Let nobody pass any more; wait for those inside, but no longer than this."""
        with self._lock:
            self._open = False
        deadline = time.monotonic() + seconds
        while self._inside and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)

    def open(self) -> None:
        """Let all pass."""
        with self._lock:
            self._open = True

    def _enter(self) -> bool:
        with self._lock:
            self._inside += self._open
            return self._open
