"""Say that a request's work goes on where nothing of it is counted: each layer, each prompt.

The supervisor ends a trainer whose request makes no progress; heartbeats come from a thread of
their own and only prove that the process lives. Whoever calls ``went_on`` has just done a piece of
the request's own work. The pieces are one layer over one row and one rendering of one call, so none
takes as long as the silence limit, however many of them a request has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

from msgspec import structs

from babylon_tasks.training.protocol import OnProgress, RequestProgress

T = TypeVar("T")
_SECONDS = 1.0  # between two messages that tell nothing new


class _Request:
    def __init__(self, send: OnProgress) -> None:
        self._send = send
        self._last = RequestProgress(done=0, total=0)
        self._sent = time.monotonic()

    def report(self, progress: RequestProgress) -> None:
        self._last = structs.replace(progress, job=None)  # each reference is stored once
        self._sent = time.monotonic()
        self._send(progress)

    def went_on(self) -> None:
        if time.monotonic() - self._sent >= _SECONDS:
            self._sent = time.monotonic()
            self._send(self._last)


# Inherited by ``asyncio.to_thread``, and not by the threads that answer agents: their work beside a
# request that hangs says nothing about it.
_request: ContextVar[_Request | None] = ContextVar("request", default=None)


@contextmanager
def reported(send: OnProgress) -> Iterator[OnProgress]:
    """Let ``went_on`` repeat the last progress of a request; yields where to report progress."""
    request = _Request(send)
    token = _request.set(request)
    try:
        yield request.report
    finally:
        _request.reset(token)


def went_on() -> None:
    """Note a piece of work of this context's request; does nothing outside of one."""
    request = _request.get()
    if request is not None:
        request.went_on()


async def noting_wait(wait: Coroutine[Any, Any, T], seconds: float) -> T:
    """Note a wait for other processes, such as vLLM's start, for no longer than ``seconds``.

    What takes longer than that is silence again, and ends the trainer.
    """
    started = asyncio.ensure_future(wait)
    deadline = time.monotonic() + seconds
    try:
        while not started.done():
            ended, _ = await asyncio.wait([started], timeout=_SECONDS)
            if not ended and time.monotonic() < deadline:
                went_on()
        return started.result()
    finally:
        started.cancel()  # where the request is given up


def noting_prompts(tokenizer: Any) -> Any:
    """Let a transformers tokenizer note each prompt that it has rendered; returns the tokenizer."""
    render = tokenizer.apply_chat_template

    @wraps(render)
    def rendered(*args: Any, **options: Any) -> Any:
        prompt = render(*args, **options)
        went_on()
        return prompt

    tokenizer.apply_chat_template = rendered
    return tokenizer


def noting_layers(layers: Any) -> None:
    """Let each of these modules note its forward pass, and its backward pass on the processor.

    On a card another thread, which belongs to no request, runs the backward passes.
    """
    for layer in layers:
        layer.register_forward_hook(_passed)


def _passed(module: Any, inputs: Any, output: Any) -> None:
    del module, inputs
    went_on()
    states = output[0] if isinstance(output, tuple) else output
    if states.requires_grad:
        states.register_hook(lambda _: went_on())
