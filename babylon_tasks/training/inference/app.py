"""The ASGI application: the key, the routes, and an answer in OpenAI's shape whatever happens."""

from __future__ import annotations

import asyncio
import hmac
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from babylon_tasks import metrics
from babylon_tasks.training.inference.body import Body
from babylon_tasks.training.inference.chat import Chat
from babylon_tasks.training.inference.limits import FLUSH_SECONDS
from babylon_tasks.training.inference.refusals import ClientGone, Refused

COMPLETIONS = "/v1/chat/completions"
_MODELS = "/v1/models"
_GONE = 499  # nginx's status for a client that did not wait; it is only counted
_HEALTHY = b'{"status":"ok"}'


class App:
    """Answer one request at a time; ``/health`` needs no key, everything else does."""

    def __init__(self, chat: Chat, api_key: str) -> None:
        self._chat = chat
        self._api_key = api_key.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request; ASGI's interface."""
        begun = time.monotonic()
        headers = dict(reversed(scope["headers"]))  # of a repeated one the first counts
        body = Body(headers, receive)
        status, content, more = 200, b"", {}
        try:
            content = await self._answer(scope, headers, body)
        except Refused as refusal:
            status, content, more = refusal.status, refusal.body, refusal.headers
        except ClientGone:
            status = _GONE
        except Exception as error:  # noqa: BLE001  # any error of torch, a template, a tokenizer
            traceback.print_exc()
            failure = Refused(500, f"the trainer failed on this request: {type(error).__name__}")
            status, content = failure.status, failure.body
        if scope["path"] == COMPLETIONS:
            waited = metrics.INFERENCE_SECONDS.labels(self._chat.lineage, str(status))
            waited.observe(time.monotonic() - begun)
        if status != _GONE:
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await _deliver(send, body, status, content, more)
            except TimeoutError:  # the client asks, and does not read its answers
                scope["state"]["connection"].transport.abort()

    async def _answer(self, scope: Any, headers: dict[bytes, bytes], body: Body) -> bytes:
        path, method = scope["path"], scope["method"]
        if path != "/health":
            self._check_key(headers)
            scope["state"]["connection"].serves()
            body.admit()
        wanted, answer = self._route(path)
        if method != wanted:
            raise Refused(
                405,
                f"{path} takes {wanted}, not {method}",
                code="method_not_supported",
                headers={"allow": wanted},
            )
        return await answer(body)

    def _route(self, path: str) -> tuple[str, Callable[[Body], Awaitable[bytes]]]:
        routes = {
            "/health": ("GET", _health),
            _MODELS: ("GET", self._chat.models),
            COMPLETIONS: ("POST", self._chat.complete),
        }
        if path.startswith(f"{_MODELS}/"):
            return "GET", partial(self._chat.model, path.removeprefix(f"{_MODELS}/"))
        if path not in routes:
            raise Refused(
                404,
                f"there is nothing at {path[:200]!r}; the paths are {', '.join(routes)}",
                code="unknown_url",
            )
        return routes[path]

    def _check_key(self, headers: dict[bytes, bytes]) -> None:
        given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(given, self._api_key):
            raise Refused(
                401,
                "wrong API key; it is BABYLON_INFERENCE_API_KEY",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )


async def _health(_: Body) -> bytes:
    return _HEALTHY


async def _deliver(
    send: Any, body: Body, status: int, content: bytes, more: dict[str, str]
) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(content)), **more}
    unread = not body.complete
    if unread:
        headers["connection"] = "close"
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    # The answer is complete for the client by its length; the connection is closed after that.
    await send({"type": "http.response.body", "body": content, "more_body": unread})
    if unread:
        await body.discard()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
