"""What an application answers, whatever happened, and its way to the client."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable
from typing import Any

from msgspec import Struct

from babylon_tasks.http_server.body import Body
from babylon_tasks.http_server.limits import FLUSH_SECONDS
from babylon_tasks.http_server.refusals import ClientGone, Refused

GONE = 499  # nginx's status for a client that did not wait; it is only counted


class Answer(Struct, frozen=True):
    """A whole answer: status, JSON, and headers beside its type and length."""

    content: bytes
    status: int = 200
    headers: dict[str, str] = {}


async def answered(work: Awaitable[Answer], who: str) -> Answer:
    """Wait for an answer; an error becomes one in OpenAI's shape, that of ``who`` a 500."""
    try:
        return await work
    except Refused as refusal:
        return Answer(refusal.body, refusal.status, refusal.headers)
    except ClientGone:
        return Answer(b"", GONE)
    except Exception as error:  # noqa: BLE001  # any error of torch, a template, a peer
        traceback.print_exc()
        failure = Refused(500, f"{who} failed on this request: {type(error).__name__}")
        return Answer(failure.body, failure.status)


async def deliver(scope: Any, send: Any, body: Body, answer: Answer) -> None:
    """Send an answer; closes the connection of a client that does not read it."""
    if answer.status == GONE:
        return
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await _send(send, body, answer)
    except TimeoutError:
        scope["state"]["connection"].transport.abort()


async def send_part(send: Any, message: dict[str, Any]) -> None:
    """Send a part of an answer; raises ClientGone for a client that does not read it."""
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await send(message)
    except TimeoutError:
        raise ClientGone from None


def start(status: int, headers: dict[str, str]) -> dict[str, Any]:
    """Make ASGI's message that begins an answer; another server's values stay as they came."""
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (name.encode(), value.encode("utf-8", "surrogateescape"))
            for name, value in headers.items()
        ],
    }


async def _send(send: Any, body: Body, answer: Answer) -> None:
    headers = {
        "content-type": "application/json",
        "content-length": str(len(answer.content)),
        **answer.headers,
    }
    unread = not body.complete
    if unread:
        headers["connection"] = "close"
    await send(start(answer.status, headers))
    # For the client the answer is complete by its length. Its end comes only when the kernel has
    # all of it: until then the connection is neither idle nor closed.
    await send({"type": "http.response.body", "body": answer.content, "more_body": True})
    if unread:
        await body.discard()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
