"""HTTP to the servers behind the gateway: one pool, each wait bounded, nothing sent twice.

A request is repeated only where no connection could be made: after that it may have been answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from msgspec import Struct

from babylon_tasks.gateway.away import Away, AwayReason

_CONNECT_SECONDS = 2.0
# Clearly less than servers keep one (uvicorn: 5 s): a request on a connection that is just being
# closed would be lost.
_IDLE_SECONDS = 3.0
# Of a checkpoint's answer, log-probabilities included: 64 answers of 1024 tokens are 12 MB.
_ANSWER_BYTES = 64 * 2**20
# What another server says about its limits and errors; nothing else of its headers is passed on.
_PASSED_ON = ("content-type", "content-encoding", "retry-after", "retry-after-ms", "x-should-retry")
_PASSED_PREFIX = "x-ratelimit-"


class ServerAnswer(Struct, frozen=True):
    """A whole answer."""

    status: int
    content: bytes
    headers: dict[str, str]


class Servers:
    """The connections to all of them; used in one event loop, closed in it."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(
            transport=None,
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=100,
                keepalive_expiry=_IDLE_SECONDS,
            ),
            headers={"user-agent": "babylon-tasks-gateway"},
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def ask(
        self, base_url: str, key: str | None, body: bytes, seconds: float
    ) -> ServerAnswer:
        """Ask for a whole answer; raises Away."""
        content = bytearray()
        try:
            async with (
                asyncio.timeout(seconds),
                self._sent(base_url, key, body, seconds, "application/json") as response,
            ):
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > _ANSWER_BYTES:
                        raise Away(AwayReason.TOO_LARGE)
        except TimeoutError:
            raise Away(AwayReason.TIMEOUT) from None
        except httpx.HTTPError as error:
            raise Away(_reason(error)) from None
        return ServerAnswer(response.status_code, bytes(content), passed_on(response.headers))

    @asynccontextmanager
    async def passing(
        self, base_url: str, key: str | None, body: bytes, *, seconds: float, accept: str
    ) -> AsyncIterator[httpx.Response]:
        """Ask, and hand out the answer as it comes, its bytes as they are; raises Away."""
        try:
            async with self._sent(base_url, key, body, seconds, accept) as response:
                yield response
        except httpx.HTTPError as error:
            raise Away(_reason(error)) from None

    def _sent(
        self, base_url: str, key: str | None, body: bytes, seconds: float, accept: str
    ) -> Any:
        headers = {
            "content-type": "application/json",
            "accept": accept,
            "accept-encoding": "identity",
        }
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        return self._client.stream(
            "POST",
            f"{base_url.rstrip('/')}/chat/completions",
            content=body,
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS),
        )


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Choose the headers of a server's answer that the client gets."""
    return {
        name: value
        for name, value in headers.items()
        if name in _PASSED_ON or name.startswith(_PASSED_PREFIX)
    }


def _reason(error: httpx.HTTPError) -> AwayReason:
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return AwayReason.CONNECT
        case httpx.TimeoutException():
            return AwayReason.TIMEOUT
        case _:
            return AwayReason.BROKEN
