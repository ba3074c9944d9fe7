"""A request's body, read only where it is wanted, and the end of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from babylon_tasks.http_server.limits import (
    BODY_SECONDS,
    LINGER_BYTES,
    LINGER_SECONDS,
    STRANGERS_LINGER_BYTES,
)
from babylon_tasks.http_server.refusals import ClientGone, Refused, too_late
from babylon_tasks.http_server.room import Room

T = TypeVar("T")


class Body:
    """The body of one request, of at most ``most`` bytes; ``receive`` is ASGI's.

    ``room``: where it is read, until ``release``.
    ``complete``: nothing of it is left to read, so the connection can carry another request.
    """

    def __init__(
        self,
        headers: Mapping[bytes, bytes],
        receive: Any,
        *,
        most: int,
        room: Room | None = None,
    ) -> None:
        self._receive = receive
        self._most = most
        self._room = Room(most) if room is None else room
        self._taken = 0
        length = headers.get(b"content-length", b"0")  # a whole number: h11 refuses any other
        self._length = int(length) if len(length) < 20 else most + 1
        self._linger = STRANGERS_LINGER_BYTES
        self.complete = self._length == 0 and b"transfer-encoding" not in headers

    def admit(self) -> None:
        """Note that the request has the right key: a refusal of it may cost more."""
        self._linger = LINGER_BYTES

    async def read(self) -> bytes:
        """Read all of it; raises Refused if it is too large or too slow, and ClientGone.

        Also where there is no room for it.
        """
        if self._length > self._most:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while not self.complete:
                    body += await self._next()
                    if len(body) > self._most:
                        raise self._too_large()
                    self._room.take(len(body) - self._taken)
                    self._taken = len(body)
        except TimeoutError:
            raise Refused(
                408,
                f"the body was not complete after {BODY_SECONDS:g} s",
                code="request_timeout",
            ) from None
        return bytes(body)

    def release(self) -> None:
        """Give the room back: nothing of the request is in memory any more."""
        self._room.give_back(self._taken)
        self._taken = 0

    async def discard(self) -> None:
        """Read on after a refusal, but not for long: so a client that still writes learns of it."""
        left = self._linger
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and not self.complete:
                    left -= len(await self._next())
        except (TimeoutError, ClientGone):
            return

    async def unless_gone(
        self, work: Awaitable[T], seconds: float | None = None, setting: str = ""
    ) -> T:
        """Wait for the work, and cancel it when nobody waits any more.

        Raises ClientGone, and Refused after ``seconds``, the limit of ``setting``. What is left of
        the body is read and dropped.
        """
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(self._leave())
        both = {working, leaving}
        try:
            await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if leaving.done() or seconds is None:
                raise ClientGone
            raise too_late(seconds, setting)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self.complete = not message.get("more_body", False)
        found: bytes = message.get("body", b"")
        return found

    async def _leave(self) -> None:
        with suppress(ClientGone):
            while True:
                await self._next()

    def _too_large(self) -> Refused:
        return Refused(
            413,
            f"the body has more than {self._most} bytes, the limit of one request",
            code="request_too_large",
        )
