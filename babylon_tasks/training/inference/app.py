"""The ASGI application: the key, the routes, and an answer in OpenAI's shape whatever happens."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from babylon_tasks import metrics
from babylon_tasks.http_server.body import Body
from babylon_tasks.http_server.deliver import Answer, answered, deliver
from babylon_tasks.http_server.refusals import Refused
from babylon_tasks.training.inference.access import check_key
from babylon_tasks.training.inference.chat import Chat
from babylon_tasks.training.inference.limits import BODY_BYTES

COMPLETIONS = "/v1/chat/completions"
_MODELS = "/v1/models"
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
        body = Body(headers, receive, most=BODY_BYTES)
        answer = await answered(self._answer(scope, headers, body), "the trainer")
        if scope["path"] == COMPLETIONS:
            waited = metrics.INFERENCE_SECONDS.labels(self._chat.lineage, str(answer.status))
            waited.observe(time.monotonic() - begun)
        await deliver(scope, send, body, answer)

    async def _answer(self, scope: Any, headers: dict[bytes, bytes], body: Body) -> Answer:
        path, method = scope["path"], scope["method"]
        if path != "/health":
            check_key(headers, self._api_key)
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
        return Answer(await answer(body))

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


async def _health(_: Body) -> bytes:
    return _HEALTHY
