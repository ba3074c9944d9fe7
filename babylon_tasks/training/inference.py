"""The OpenAI-compatible endpoint of the ``cpu`` backend: chat completions and the model list.

Requests that arrive together are sampled as one batch. Models have ART's names: ``lineage@step``;
``lineage@0`` is the base model.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from babylon_tasks import metrics
from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.sampling import SampledAnswer, SamplingRequest, sample

_GATHER_SECONDS = 0.03  # wait for more requests as long as they keep coming,
_GATHER_LIMIT_SECONDS = 0.3  # but no longer than this
_MAX_SEQUENCES = 64
_MAX_PROMPT_TOKENS = 2048
_COMPLETIONS = "/v1/chat/completions"


class ChatMessage(BaseModel):
    """One text message of the prompt: tool calls and parts are refused, other keys ignored."""

    role: str
    content: str | None = ""
    tool_calls: None = None


class ChatRequest(BaseModel):
    """The supported part of OpenAI's request; ``stream`` and ``tools`` are refused, not ignored.

    By default an answer carries its token ids as ART's servers send them: as ``token_ids`` of the
    choice, and as ``token_id:N`` in place of a token's text. With ``return_token_ids`` the prompt's
    are added, as in vLLM.
    """

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    n: int = Field(default=1, ge=1, le=_MAX_SEQUENCES)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=1024)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1024)
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=0)
    return_tokens_as_token_ids: bool = True
    return_token_ids: bool | None = None
    chat_template_kwargs: dict[Literal["enable_thinking"], bool] = {}
    stream: Literal[False] | None = None
    tools: None = None


class _Pending:
    def __init__(self, step: int, ask: SamplingRequest) -> None:
        self.step = step
        self.ask = ask
        self.future: asyncio.Future[list[SampledAnswer]] = (
            asyncio.get_running_loop().create_future()
        )


class InferenceServer:
    """Serve one lineage's checkpoints from a thread of its own; ``port`` 0 chooses one."""

    def __init__(self, policy: Policy, lineage: str, *, host: str, port: int, api_key: str) -> None:
        self.policy = policy
        self.lineage = lineage
        self.host = host
        self.port = port
        self._api_key = api_key
        self._pending: list[_Pending] = []
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Bind and serve; raises BackendUnavailable when the port is taken."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
            listener.listen()  # before the port is announced: clients may connect at once
        except OSError as error:
            listener.close()
            raise BackendUnavailable(
                f"inference cannot listen on {self.host}:{self.port}: {error.strerror}; "
                "another trainer may be running, or set BABYLON_INFERENCE_PORT"
            ) from error
        self.port = listener.getsockname()[1]
        # asyncio's own loop: ART applies nest_asyncio, which uvloop does not support.
        config = uvicorn.Config(self.app(), loop="asyncio", log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="inference", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and wait for the thread."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=10)

    def app(self) -> FastAPI:
        """Build the HTTP application."""
        app = FastAPI(title="babylon-tasks inference", docs_url=None, redoc_url=None)

        @app.exception_handler(HTTPException)
        async def refusal(_: Request, error: HTTPException) -> JSONResponse:
            # OpenAI's clients look for the message in this field.
            return JSONResponse(
                {"error": {"message": error.detail, "code": error.status_code}},
                status_code=error.status_code,
            )

        @app.middleware("http")
        async def measure(
            request: Request, answer: Callable[[Request], Awaitable[Response]]
        ) -> Response:
            begun = time.monotonic()
            response = await answer(request)
            if request.url.path == _COMPLETIONS:
                waited = metrics.INFERENCE_SECONDS.labels(self.lineage, str(response.status_code))
                waited.observe(time.monotonic() - begun)
            return response

        @app.get("/health")
        async def health() -> dict[str, str]:
            return {"status": "ok"}

        @app.get("/v1/models")
        async def models(request: Request) -> dict[str, Any]:
            self._admit(request)
            steps = sorted(
                int(p.name) for p in self.policy.checkpoints.iterdir() if p.name.isdigit()
            )
            return {
                "object": "list",
                "data": [
                    {"id": f"{self.lineage}@{step}", "object": "model", "owned_by": "babylon-tasks"}
                    for step in [0, *steps]
                ],
            }

        @app.post(_COMPLETIONS)
        async def complete(body: ChatRequest, request: Request) -> dict[str, Any]:
            self._admit(request)
            step = self._step(body.model)
            prompt = self.policy.tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content or ""} for m in body.messages],
                add_generation_prompt=True,
                **body.chat_template_kwargs,
            )["input_ids"]
            if len(prompt) > _MAX_PROMPT_TOKENS:
                raise HTTPException(
                    400, f"the prompt has {len(prompt)} tokens, the limit is {_MAX_PROMPT_TOKENS}"
                )
            stops = [body.stop] if isinstance(body.stop, str) else (body.stop or [])
            ask = SamplingRequest(
                prompt=tuple(prompt),
                n=body.n,
                temperature=body.temperature,
                top_p=body.top_p,
                max_tokens=body.max_completion_tokens or body.max_tokens or 128,
                stop=tuple(stops),
                seed=body.seed,
            )
            answers = await self._enqueue(step, ask)
            return self._completion(body, prompt, answers)

        return app

    def _admit(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._api_key.encode()):
            raise HTTPException(401, "wrong API key; it is BABYLON_INFERENCE_API_KEY")

    def _step(self, model: str) -> int:
        name, _, step = model.partition("@")
        if name != self.lineage or not step.isdecimal() or not self.policy.has_step(int(step)):
            raise HTTPException(
                404,
                f"no model {model!r} here; GET /v1/models lists the names {self.lineage}@STEP",
            )
        return int(step)

    async def _enqueue(self, step: int, ask: SamplingRequest) -> list[SampledAnswer]:
        pending = _Pending(step, ask)
        self._pending.append(pending)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._drain())
        return await pending.future

    async def _drain(self) -> None:
        while self._pending:
            await self._gather()
            batch: list[_Pending] = []
            sequences = 0
            step = self._pending[0].step
            for pending in list(self._pending):
                if pending.step == step and (
                    not batch or sequences + pending.ask.n <= _MAX_SEQUENCES
                ):
                    batch.append(pending)
                    sequences += pending.ask.n
                    self._pending.remove(pending)
            try:
                answers = await asyncio.to_thread(
                    sample, self.policy, [pending.ask for pending in batch], step=step
                )
            except Exception as error:  # noqa: BLE001  # whatever fails ends all their waits
                traceback.print_exc()
                for pending in batch:
                    if not pending.future.done():
                        pending.future.set_exception(_refusal(step, error))
            else:
                for pending, answer in zip(batch, answers, strict=True):
                    if not pending.future.done():
                        pending.future.set_result(answer)

    async def _gather(self) -> None:
        deadline = time.monotonic() + _GATHER_LIMIT_SECONDS
        seen = 0
        while seen < len(self._pending) < _MAX_SEQUENCES and time.monotonic() < deadline:
            seen = len(self._pending)
            await asyncio.sleep(_GATHER_SECONDS)

    def _completion(
        self, body: ChatRequest, prompt: list[int], answers: list[SampledAnswer]
    ) -> dict[str, Any]:
        prompt_tokens = len(prompt)
        with_ids = body.return_token_ids is not False
        completion_tokens = sum(len(answer.token_ids) for answer in answers)
        metrics.INFERENCE_TOKENS.labels(self.lineage, "prompt").inc(prompt_tokens)
        metrics.INFERENCE_TOKENS.labels(self.lineage, "completion").inc(completion_tokens)
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.model,
            "choices": [
                {
                    "index": index,
                    "finish_reason": answer.finish_reason,
                    "message": {"role": "assistant", "content": answer.text},
                    "logprobs": self._logprobs(body, answer) if body.logprobs else None,
                    **({"token_ids": answer.token_ids} if with_ids else {}),
                }
                for index, answer in enumerate(answers)
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
            **({"prompt_token_ids": prompt} if body.return_token_ids else {}),
        }

    def _logprobs(self, body: ChatRequest, answer: SampledAnswer) -> dict[str, Any]:
        content = []
        for token, logprob in zip(answer.token_ids, answer.logprobs, strict=True):
            piece = self.policy.token_text.piece(token)
            text = piece.decode("utf-8", "replace")
            content.append(
                {
                    "token": f"token_id:{token}" if body.return_tokens_as_token_ids else text,
                    "logprob": logprob,
                    "bytes": list(piece),
                    "top_logprobs": [],
                }
            )
        return {"content": content, "refusal": None}


def _refusal(step: int, error: Exception) -> HTTPException:
    if isinstance(error, FileNotFoundError):
        return HTTPException(404, str(error))
    return HTTPException(500, f"sampling from checkpoint {step} failed: {error}")
