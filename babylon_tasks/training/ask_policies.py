"""Ask policies questions through the inference endpoint: a few at a time, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault, fault_of
from babylon_tasks.training.client import openai_client
from babylon_tasks.training.inference.limits import ANSWER_TOKENS

_ANSWER_SECONDS = 120.0  # of one try; OpenAI's client tries again twice
_USUAL_TOKENS = 512  # where the agent's own bound is not recorded
# The request itself is refused, for example because the prompt is too long for the model.
_OF_THE_REQUEST = (400, 413, 422)


class PolicyServer(Struct, frozen=True):
    """Where policies are asked, and with which key."""

    base_url: str
    api_key: str


class Prompt(Struct, frozen=True):
    """A question as an agent asked it."""

    messages: tuple[tuple[str, str], ...]
    temperature: float
    top_p: float
    max_tokens: int | None


class PolicyAnswer(Struct, frozen=True):
    """What a policy answered; ``refused``: why its server did not take the question."""

    text: str
    tokens: int | None = None
    finish_reason: str | None = None
    refused: str | None = None
    prompt_tokens: int | None = None


OnAnswers = Callable[[int, Sequence[PolicyAnswer]], None]


def ask_policies(
    server: PolicyServer,
    policies: Sequence[str],
    prompts: Sequence[tuple[int, Prompt]],
    *,
    concurrency: int,
    seconds: float,
    on_answers: OnAnswers,
) -> None:
    """Ask every policy each question; ``on_answers`` gets a question's number and all its answers.

    Raises TrainingError, the environment's fault, where the endpoint does not answer, or not within
    ``seconds``. NotInstalled without the package openai.
    """
    try:
        asyncio.run(
            _ask_all(server, policies, prompts, concurrency, seconds=seconds, on_answers=on_answers)
        )
    except TimeoutError as error:
        raise TrainingError(
            f"{server.base_url} did not answer {len(prompts)} questions within {seconds:g} s; "
            "what it answered is kept, the next try asks for the rest",
            fault=Fault.SERVICE_REFUSES,
        ) from error


async def _ask_all(
    server: PolicyServer,
    policies: Sequence[str],
    prompts: Sequence[tuple[int, Prompt]],
    concurrency: int,
    *,
    seconds: float,
    on_answers: OnAnswers,
) -> None:
    turns = asyncio.Semaphore(concurrency)
    client = openai_client(
        base_url=server.base_url, api_key=server.api_key, timeout=_ANSWER_SECONDS
    )

    async def ask(number: int, prompt: Prompt) -> tuple[int, list[PolicyAnswer]]:
        # One question's together: nothing that changes with time is between them, and what breaks
        # off has whole pairs.
        async with turns:
            return number, [await _ask(client, name, prompt, server) for name in policies]

    async with client, asyncio.timeout(seconds):
        tasks = [asyncio.ensure_future(ask(number, prompt)) for number, prompt in prompts]
        try:
            for done in asyncio.as_completed(tasks):
                on_answers(*await done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(client: Any, name: str, prompt: Prompt, server: PolicyServer) -> PolicyAnswer:
    from openai import APIError, APIStatusError

    try:
        answer = await client.chat.completions.create(
            model=name,
            messages=[{"role": role, "content": text} for role, text in prompt.messages],
            temperature=prompt.temperature,
            top_p=prompt.top_p,
            max_tokens=min(prompt.max_tokens or _USUAL_TOKENS, ANSWER_TOKENS),
        )
    except APIError as error:
        if isinstance(error, APIStatusError) and error.status_code in _OF_THE_REQUEST:
            return PolicyAnswer("", refused=str(error))
        fault = fault_of(error)
        raise TrainingError(
            f"{name} could not be asked at {server.base_url}: {type(error).__name__}: {error}; "
            "it is asked again once the inference endpoint answers",
            fault=Fault.SERVICE_REFUSES if fault is Fault.WINDOW else fault,
        ) from error
    choice = answer.choices[0] if answer.choices else None
    text = (choice.message.content if choice is not None else None) or ""
    return PolicyAnswer(
        text,
        tokens=None if answer.usage is None else answer.usage.completion_tokens,
        finish_reason=None if choice is None else choice.finish_reason,
        prompt_tokens=None if answer.usage is None else answer.usage.prompt_tokens,
    )
