"""The vLLM that ART has started: is it there, and what does it answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
from msgspec import Struct

_CONNECT_SECONDS = 5.0
_HEALTH_SECONDS = 5.0
# Clearly less than vLLM keeps one (5 s): a request on a connection that is just being closed would
# be lost.
_IDLE_SECONDS = 3.0
# With each request httpx looks at every idle one (training/client.py).
_IDLE_CONNECTIONS = 20


class Vllm(Struct, frozen=True):
    """Its address, which ends with ``/v1``, and the key of this start of it."""

    base_url: str
    key: str

    async def lives(self) -> bool:
        """Check that its process and engine have not ended; one that is slow or asleep lives."""
        address = f"{self.base_url.removesuffix('/v1')}/health"
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=_HEALTH_SECONDS) as client:
                return (await client.get(address)).status_code < 500
        except httpx.TimeoutException:
            return True
        except httpx.HTTPError:
            return False


@asynccontextmanager
async def asked(
    client: httpx.AsyncClient, vllm: Vllm, path: str, body: bytes
) -> AsyncIterator[httpx.Response]:
    """Send a request for an answer; raises httpx.HTTPError. The caller bounds the wait."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {vllm.key}"}
    address = vllm.base_url.removesuffix("/v1") + path
    async with client.stream("POST", address, content=body, headers=headers) as response:
        yield response


def new_client() -> httpx.AsyncClient:
    """Make the client of one event loop: no proxy is on the way to this machine."""
    return httpx.AsyncClient(
        trust_env=False,
        timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
        limits=httpx.Limits(
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
        ),
    )


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Choose the headers of its answer that the client gets."""
    return {"content-type": headers.get("content-type", "application/json")}
