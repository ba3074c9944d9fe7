"""The ASGI application before vLLM: the key, the checkpoints, and the way to vLLM and back."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from babylon_tasks import metrics
from babylon_tasks.errors import CheckpointDamaged
from babylon_tasks.http_server.body import Body
from babylon_tasks.http_server.deliver import Answer, answered, deliver, send_part, start
from babylon_tasks.http_server.limits import RETRY_AFTER_SECONDS
from babylon_tasks.http_server.refusals import Refused, too_many_requests, unusable_json
from babylon_tasks.policy_names import policy_name, step_number
from babylon_tasks.training.checkpoints import steps_on_disk
from babylon_tasks.training.inference.access import check_key
from babylon_tasks.training.inference.limits import Limits
from babylon_tasks.training.vllm_front.gate import Gate
from babylon_tasks.training.vllm_front.upstream import Vllm, asked, new_client, passed_on

COMPLETIONS = "/v1/chat/completions"
_MODELS = "/v1/models"
_PATHS = ("/health", _MODELS, COMPLETIONS)
_BODY_BYTES = 8 * 2**20  # as the gateway takes; prompts may have 32,768 tokens
_ANSWER_BYTES = 64 * 2**20


class _Asked(Struct, frozen=True):
    """What is read of a request; the rest is vLLM's."""

    model: str
    stream: bool | None = None


class FrontApp:
    """Answer as the checkpoints of one lineage whose folders lie here.

    ``load(step)`` lets vLLM answer as a checkpoint; raises CheckpointDamaged. ``vllm`` is None
    until ART has started one, ``loaded`` are the checkpoints that it can answer as.
    """

    vllm: Vllm | None = None
    loaded: frozenset[int] = frozenset()
    _client: httpx.AsyncClient

    def __init__(
        self,
        lineage: str,
        checkpoints: Path,
        *,
        api_key: str,
        limits: Limits,
        gate: Gate,
        load: Callable[[int], Awaitable[None]],
    ) -> None:
        self._lineage = lineage
        self._checkpoints = checkpoints
        self._api_key = api_key.encode()
        self._limits = limits
        self._gate = gate
        self._load = load
        self._in_progress = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request; ASGI's interface."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        begun = time.monotonic()
        headers = dict(reversed(scope["headers"]))  # of a repeated one the first counts
        body = Body(headers, receive, most=_BODY_BYTES)
        way = _Way(scope, send)
        answer = await answered(self._answer(headers, body, way), "the trainer")
        if scope["path"] == COMPLETIONS:
            waited = metrics.INFERENCE_SECONDS.labels(self._lineage, str(answer.status))
            waited.observe(time.monotonic() - begun)
        if not way.begun:
            await deliver(scope, send, body, answer)
        elif answer.status != way.status:
            way.break_off()  # anything sent now would pass for the rest of the answer

    async def _live(self, receive: Any, send: Any) -> None:
        async with new_client() as self._client:  # of this event loop
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, headers: dict[bytes, bytes], body: Body, way: _Way) -> Answer:
        path, method = way.scope["path"], way.scope["method"]
        if path == "/health":
            return Answer(b'{"status":"ok"}')
        check_key(headers, self._api_key)
        way.scope["state"]["connection"].serves()
        body.admit()
        named = path.removeprefix(f"{_MODELS}/") if path.startswith(f"{_MODELS}/") else None
        if path not in _PATHS and named is None:
            raise Refused(
                404,
                f"there is nothing at {path[:200]!r}; the paths are {', '.join(_PATHS)}",
                code="unknown_url",
            )
        wanted = "POST" if path == COMPLETIONS else "GET"
        if method != wanted:
            raise Refused(
                405,
                f"{path} takes {wanted}, not {method}",
                code="method_not_supported",
                headers={"allow": wanted},
            )
        if named is not None:
            return await self._model(named, body)
        return await self._complete(body, way) if path == COMPLETIONS else self._models()

    def _models(self) -> Answer:
        found = [self._described(step) for step in steps_on_disk(self._checkpoints)]
        return Answer(msgspec.json.encode({"object": "list", "data": found}))

    async def _model(self, name: str, body: Body) -> Answer:
        """Describe a checkpoint that vLLM can answer as: the worker's readiness asks this."""
        step = self._step(name)
        seconds = self._limits.seconds
        await body.unless_gone(
            self._require_loaded(step), seconds, "BABYLON_INFERENCE_TIMEOUT_SECONDS"
        )
        return Answer(msgspec.json.encode(self._described(step)))

    def _described(self, step: int) -> dict[str, str | int]:
        name = policy_name(self._lineage, step)
        # OpenAI's clients require ``created``; 0 is what the gateway says, too.
        return {"id": name, "object": "model", "created": 0, "owned_by": "babylon-tasks"}

    async def _complete(self, body: Body, way: _Way) -> Answer:
        if self._in_progress >= self._limits.requests:
            raise too_many_requests(self._limits.requests, "BABYLON_INFERENCE_MAX_REQUESTS")
        self._in_progress += 1
        try:
            raw = await body.read()
            return await body.unless_gone(
                self._passed(raw, way), self._limits.seconds, "BABYLON_INFERENCE_TIMEOUT_SECONDS"
            )
        finally:
            self._in_progress -= 1

    async def _passed(self, raw: bytes, way: _Way) -> Answer:
        try:
            read = msgspec.json.decode(raw, type=_Asked)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise unusable_json(raw, error) from None
        step = self._step(read.model)
        while True:
            await self._require_loaded(step)
            async with self._gate.passing():
                vllm = self.vllm
                if vllm is None or step not in self.loaded:
                    continue  # it was started anew meanwhile
                try:
                    async with asked(self._client, vllm, COMPLETIONS, raw) as response:
                        return await _brought(response, way, streamed=read.stream is True)
                except httpx.HTTPError as error:
                    raise _away(type(error).__name__) from None

    async def _require_loaded(self, step: int) -> None:
        if step in self.loaded:
            return
        try:
            await self._load(step)
        except CheckpointDamaged as damage:
            raise Refused(503, str(damage), code="checkpoint_damaged", param="model") from None

    def _step(self, model: str) -> int:
        name, _, text = model.partition("@")
        step = step_number(text)
        # Also of one that is loaded: its name may mean the base model to vLLM once it is not.
        if name != self._lineage or step is None or step not in steps_on_disk(self._checkpoints):
            raise Refused(
                404,
                f"no model {model[:200]!r} here; GET /v1/models lists the names "
                f"{self._lineage}@STEP",
                code="model_not_found",
                param="model",
            )
        return step


class _Way:
    """The way back to the client of one request, where an answer goes in parts."""

    def __init__(self, scope: Any, send: Any) -> None:
        self.scope = scope
        self.status = 0  # as sent
        self._send = send

    @property
    def begun(self) -> bool:
        """Whether the status has been sent, so that no other can be."""
        return self.status != 0

    async def begin(self, status: int, headers: dict[str, str]) -> None:
        """Send status and headers; raises ClientGone."""
        self.status = status
        await send_part(self._send, start(status, headers))

    async def write(self, part: bytes, *, more: bool = True) -> None:
        """Send a part; waits for a client that reads slowly, but for each part not long.

        A step waits for the end of every answer. Raises ClientGone.
        """
        message = {"type": "http.response.body", "body": part, "more_body": more}
        await send_part(self._send, message)

    def break_off(self) -> None:
        """Close the connection: the client must not take what it has for a whole answer."""
        self.scope["state"]["connection"].transport.abort()


async def _brought(response: httpx.Response, way: _Way, *, streamed: bool) -> Answer:
    """Read an answer of vLLM's; a stream is passed on part by part."""
    headers = passed_on(response.headers)
    if streamed and response.status_code == 200:
        await way.begin(200, headers)
        async for part in response.aiter_bytes():
            await way.write(part)
        await way.write(b"", more=False)
        return Answer(b"", 200)
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > _ANSWER_BYTES:
            raise Refused(502, f"vLLM's answer has more than {_ANSWER_BYTES} bytes: ask for less")
    return Answer(bytes(content), response.status_code, headers)


def _away(why: str) -> Refused:
    return Refused(
        503,
        f"vLLM of this trainer gave no answer: {why}; it is started anew if it has ended",
        headers={"retry-after": str(RETRY_AFTER_SECONDS)},
    )
