"""The two things that agents ask: which models there are, and what one of them answers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import msgspec
from jinja2 import TemplateError

from babylon_tasks import metrics
from babylon_tasks.http_server.body import Body
from babylon_tasks.http_server.refusals import Refused
from babylon_tasks.policy_names import policy_name, step_number
from babylon_tasks.training.checkpoints import steps_on_disk
from babylon_tasks.training.inference.batches import Batches, fits, width
from babylon_tasks.training.inference.chat_request import ChatRequest, read_request
from babylon_tasks.training.inference.completion import completion
from babylon_tasks.training.inference.limits import PROMPT_TOKENS, Limits
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.sampling import SamplingRequest


class Chat:
    """One lineage's checkpoints. Models have ART's names: ``lineage@step``; step 0 is the base."""

    def __init__(self, policy: Policy, lineage: str, limits: Limits) -> None:
        self.lineage = lineage
        self._policy = policy
        self._limits = limits
        self._batches = Batches(policy, limits.requests)
        # One thread: tokenizers are not thread-safe, and a long prompt must not stop the others.
        self._tokenising = ThreadPoolExecutor(1, "tokenising")

    @property
    def in_progress(self) -> int:
        """How many completion requests are being read, waiting or answered."""
        return self._batches.in_progress

    @property
    def sampling(self) -> int:
        """How many of them are in the batch that is sampled now."""
        return self._batches.sampling

    def close(self) -> None:
        """Drop what waits to be tokenised."""
        self._tokenising.shutdown(wait=False, cancel_futures=True)

    async def models(self, _: Body) -> bytes:
        """List the base model and each checkpoint on disk."""
        steps = steps_on_disk(self._policy.checkpoints)
        return msgspec.json.encode(
            {
                "object": "list",
                "data": [self._described(step) for step in [0, *steps]],
            }
        )

    async def model(self, name: str, _: Body) -> bytes:
        """Describe one checkpoint; raises Refused where a request for it would be refused.

        The worker's readiness asks this of the checkpoint that is to serve.
        """
        step = self._step(name)
        damage = await asyncio.to_thread(self._policy.damage, step)
        if damage is not None:
            raise Refused(
                503,
                f"checkpoint {step} cannot be loaded: {damage}",
                code="checkpoint_damaged",
                param="model",
            )
        return msgspec.json.encode(self._described(step))

    def _described(self, step: int) -> dict[str, str | int]:
        name = policy_name(self.lineage, step)
        # OpenAI's clients require ``created``; 0 is what the gateway says, too.
        return {"id": name, "object": "model", "created": 0, "owned_by": "babylon-tasks"}

    async def complete(self, body: Body) -> bytes:
        """Answer a chat completion request; raises Refused, and ClientGone if nobody waits."""
        with self._batches.place():
            raw = await body.read()
            return await body.unless_gone(
                self._completed(raw), self._limits.seconds, "BABYLON_INFERENCE_TIMEOUT_SECONDS"
            )

    async def _completed(self, raw: bytes) -> bytes:
        request = read_request(raw)
        step = self._step(request.model)
        loop = asyncio.get_running_loop()
        ask = await loop.run_in_executor(self._tokenising, self._ask, request)
        answers = await self._batches.sampled(step, ask)
        for kind, tokens in (
            ("prompt", len(ask.prompt)),
            ("completion", sum(len(answer.token_ids) for answer in answers)),
        ):
            metrics.INFERENCE_TOKENS.labels(self.lineage, kind).inc(tokens)
        token_text = self._policy.token_text
        return await asyncio.to_thread(
            lambda: msgspec.json.encode(completion(request, ask.prompt, answers, token_text))
        )

    def _step(self, model: str) -> int:
        name, _, text = model.partition("@")
        step = step_number(text)
        if name != self.lineage or step is None or not self._policy.answers(step):
            raise Refused(
                404,
                f"no model {model!r} here; GET /v1/models lists the names {self.lineage}@STEP",
                code="model_not_found",
                param="model",
            )
        return step

    def _ask(self, request: ChatRequest) -> SamplingRequest:
        """Tokenise the prompt, in a thread; raises Refused if it is too long or does not fit."""
        prompt = self._tokenised(request)
        if len(prompt) > PROMPT_TOKENS:
            raise _too_long(f"{len(prompt)} tokens, the limit is {PROMPT_TOKENS}")
        ask = SamplingRequest(
            prompt=prompt,
            n=request.n,
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=request.limit,
            stop=tuple(request.stops),
            seed=request.seed,
        )
        most = self._batches.most_tokens
        if not fits([ask], most):
            raise Refused(
                400,
                f"{ask.n} answers of {width([ask])} tokens each, the prompt's included, are more "
                f"than {most}: lower n or max_tokens",
                code="invalid_value",
                param="n",
            )
        return ask

    def _tokenised(self, request: ChatRequest) -> tuple[int, ...]:
        messages = [{"role": one.role, "content": one.text} for one in request.messages]
        length = sum(len(one["role"]) + len(one["content"]) for one in messages)
        if length > self._most_characters:
            raise _too_long(
                f"{length} characters, and {PROMPT_TOKENS} tokens, the limit, are "
                f"{self._most_characters} at most"
            )
        try:
            encoded = self._policy.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, **request.chat_template_kwargs
            )
        except TemplateError as error:
            raise Refused(
                400,
                f"the model's template refuses these messages: {error}",
                code="invalid_value",
                param="messages",
            ) from None
        return tuple(encoded["input_ids"])

    @cached_property
    def _most_characters(self) -> int:
        return PROMPT_TOKENS * max(len(piece) for piece in self._policy.token_text.pieces if piece)


def _too_long(what: str) -> Refused:
    return Refused(400, f"the prompt has {what}", code="context_length_exceeded", param="messages")
