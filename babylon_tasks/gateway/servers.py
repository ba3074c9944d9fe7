"""HTTP to the servers behind the gateway: one pool, each wait bounded, nothing sent twice.

With aiohttp: its parser is C, and its pool does not slow down with the number of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.request import getproxies, proxy_bypass

import aiohttp
from msgspec import Struct
from yarl import URL

from babylon_tasks.gateway.away import Away, AwayReason
from babylon_tasks.gateway.wait import Wait

_CONNECT_SECONDS = 2.0
# Clearly less than servers keep one (uvicorn: 5 s): a request on a connection that is just being
# closed would be lost.
_IDLE_SECONDS = 3.0
# Of a checkpoint's answer, log-probabilities included: 64 answers of 1024 tokens are 12 MB.
_ANSWER_BYTES = 64 * 2**20
# What another server says about its answer, limits and errors; nothing else of its headers is
# passed on.
_PASSED_ON = frozenset(
    {
        "content-type",
        "content-encoding",
        "content-length",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
    }
)
_PASSED_PREFIX = "x-ratelimit-"


class ServerAnswer(Struct, frozen=True):
    """A whole answer."""

    status: int
    content: bytes
    headers: dict[str, str]


class _Proxy(NamedTuple):
    """The proxy on the way to a server, if there is one."""

    url: URL | None
    headers: dict[str, str]


class Servers:
    """The connections to all of them; opened, used and closed in one event loop."""

    _session: aiohttp.ClientSession

    def __init__(self) -> None:
        self._proxies: dict[str, _Proxy] = {}  # by base URL

    async def open(self) -> None:
        """Make the pool, still without a connection."""
        self._session = aiohttp.ClientSession(
            # The number of requests is bounded before they come here.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": "babylon-tasks-gateway", "accept-encoding": "identity"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def ask(
        self, base_url: str, key: str | None, body: bytes, seconds: float, wait: Wait
    ) -> ServerAnswer:
        """Ask for a whole answer; raises Away. ``wait`` grows by the time that it takes."""
        content = bytearray()
        try:
            async with (
                asyncio.timeout(seconds),
                self._answered(base_url, key, body, seconds, "application/json", wait) as response,
            ):
                async for part in parts(response, wait):
                    content += part
                    if len(content) > _ANSWER_BYTES:
                        raise Away(AwayReason.TOO_LARGE)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Away(_reason(error)) from None
        return ServerAnswer(response.status, bytes(content), passed_on(response.headers))

    @asynccontextmanager
    async def passing(
        self,
        base_url: str,
        key: str | None,
        body: bytes,
        wait: Wait,
        *,
        seconds: float,
        accept: str,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask, and hand out the answer for ``parts``, its bytes as they are; raises Away.

        ``wait`` grows by the time until the answer begins.
        """
        try:
            async with self._answered(
                base_url, key, body, seconds, accept, wait, auto_decompress=False
            ) as response:
                yield response
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Away(_reason(error)) from None

    @asynccontextmanager
    async def _answered(
        self,
        base_url: str,
        key: str | None,
        body: bytes,
        seconds: float,
        accept: str,
        wait: Wait,
        *,
        auto_decompress: bool = True,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        proxy = self._proxies.get(base_url)
        if proxy is None:
            proxy = self._proxies[base_url] = _proxy(URL(base_url))
        headers = {"content-type": "application/json", "accept": accept}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        with wait.more():
            response = await self._session.post(
                f"{base_url.rstrip('/')}/chat/completions",
                data=body,
                headers=headers,
                allow_redirects=False,
                auto_decompress=auto_decompress,
                proxy=proxy.url,
                proxy_headers=proxy.headers,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_SECONDS, sock_read=seconds
                ),
            )
        async with response:
            yield response


async def parts(response: aiohttp.ClientResponse, wait: Wait) -> AsyncIterator[bytes]:
    """Give an answer's parts as they come; ``wait`` grows by the time until each."""
    while True:
        with wait.more():
            part = await response.content.readany()
        if not part:
            return
        yield part


def _proxy(base_url: URL) -> _Proxy:
    """Find a server's proxy as the environment has it (HTTPS_PROXY, NO_PROXY).

    Once for each server: aiohttp's own way asks another thread for it with each request.
    """
    found = getproxies().get(base_url.scheme)
    if found is None or proxy_bypass(base_url.raw_host or ""):
        return _Proxy(None, {})
    url = URL(found)
    if url.user is None:
        return _Proxy(url, {})
    login = aiohttp.encode_basic_auth(url.user, url.password or "")
    return _Proxy(url.with_user(None), {"proxy-authorization": login})


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Choose the headers of a server's answer that the client gets."""
    lower = ((name.lower(), value) for name, value in headers.items())
    return {
        name: value
        for name, value in lower
        if name in _PASSED_ON or name.startswith(_PASSED_PREFIX)
    }


def _reason(error: Exception) -> AwayReason:
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return AwayReason.CONNECT
        case TimeoutError():
            return AwayReason.TIMEOUT
        case _:
            return AwayReason.BROKEN
