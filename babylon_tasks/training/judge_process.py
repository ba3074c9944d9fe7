"""The judge's process, started by ``judge.Judge``.

ART's RULER runs in its own process, as the trainer does: importing ART takes seconds and hundreds
of MB and changes the event loop, which CPU workers should not pay for. The process reads one JSON
object per line from stdin (``StartJudge``, then ``GradeRequest``), replies on stdout in any order,
and ends when its stdin closes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Any

import msgspec
from msgspec import Struct

from babylon_tasks.mask_secrets import MASK
from babylon_tasks.plain_text import plain
from babylon_tasks.reasons import JudgeFailure
from babylon_tasks.training.child_log import take_stdout
from babylon_tasks.training.import_art import collector_at_rest, do_without_transformers
from babylon_tasks.training.root_cause import with_root_cause

_MAX_DETAIL = 300
_MOST_TOKENS = 10**8  # a server that says that an answer took more, or less than none, miscounts


class StartJudge(Struct, frozen=True, tag=True):
    """First line to the process; answered by ``JudgeReady``. Only this line has the key."""

    model: str
    base_url: str | None
    api_key: str | None
    rubric: str | None
    timeout: float
    concurrency: int


class GradeRequest(Struct, frozen=True, tag=True):
    """Grade these conversations, each a sequence of (role, content); answered by ``GradeReply``."""

    number: int
    conversations: tuple[tuple[tuple[str, str], ...], ...]


class JudgeReady(Struct, frozen=True, tag=True):
    """ART is imported, and questions are answered."""


class Grade(Struct, frozen=True):
    """The judge's grade of the conversation shown as ``name`` ("1", "2", ...), unchecked.

    A score of None means NaN or Infinity, which JSON does not have.
    """

    name: str
    score: float | None


class GradeReply(Struct, frozen=True, tag=True, kw_only=True):
    """The grades of one ``GradeRequest``, or why there are none: a reason and its detail.

    Tokens and price count either way; ``usd`` is None where litellm knows no price for the model.
    ``uncounted``: answers of which the server has said neither, or nothing that can be.
    """

    number: int
    grades: tuple[Grade, ...] = ()
    failure: JudgeFailure | None = None
    detail: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    usd: float | None = None


class _Bill:
    """The cost of all responses to one question, usable or not."""

    def __init__(self) -> None:
        self.prompt_tokens = self.completion_tokens = self.uncounted = 0
        self.usd: float | None = None

    def add(self, response: Any) -> None:
        usage = getattr(response, "usage", None)
        prompt = getattr(usage, "prompt_tokens", None) or 0  # litellm's 0 where it was not said
        completion = getattr(usage, "completion_tokens", None) or 0
        if not (0 < prompt <= _MOST_TOKENS and 0 <= completion <= _MOST_TOKENS):
            self.uncounted += 1
            return
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        price = getattr(response, "_hidden_params", {}).get("response_cost")
        if price is not None:
            self.usd = (self.usd or 0.0) + price


class _Ruler:
    """ART's ``ruler``, counting the cost of each question."""

    def __init__(self, start: StartJudge) -> None:
        do_without_transformers()
        import httpx
        import litellm
        from art.rewards import ruler
        from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

        from babylon_tasks.training.bounded_answers import bound_answers  # imports httpx

        for transport in (httpx.AsyncHTTPTransport, LiteLLMAiohttpTransport):
            bound_answers(transport)

        # The package exports the function `ruler`; the rest is in its module.
        module: Any = sys.modules[ruler.__module__]
        ask = module.acompletion

        async def billed(*args: Any, bill: _Bill, **keywords: Any) -> Any:
            response = await ask(*args, **keywords)
            bill.add(response)
            return response

        # RULER returns scores only; the tokens and price are in the response.
        module.acompletion = billed
        litellm.suppress_debug_info = True
        self.ruler = ruler
        self.rubric: str = module.DEFAULT_RUBRIC if start.rubric is None else start.rubric
        self._start = start
        self._places = asyncio.Semaphore(start.concurrency)

    async def answer(self, ask: GradeRequest) -> GradeReply:
        from openai import OpenAIError

        bill, start = _Bill(), self._start
        lists: list[Any] = [
            [{"role": role, "content": text} for role, text in one] for one in ask.conversations
        ]
        options: dict[str, object] = {
            "bill": bill,
            "temperature": 0,
            "drop_params": True,  # some models reject a temperature
            "max_retries": 2,
        }
        if start.base_url is not None:
            # Otherwise litellm would send the provider's own key from the environment there.
            options |= {"api_base": start.base_url, "api_key": start.api_key or "none"}
        elif start.api_key is not None:
            options["api_key"] = start.api_key
        grades: tuple[Grade, ...] = ()
        failure, detail = None, ""
        async with self._places:
            try:
                async with asyncio.timeout(start.timeout):
                    scored = await self.ruler(
                        lists,
                        judge_model=start.model,
                        extra_litellm_params=options,
                        rubric=self.rubric,
                    )
                grades = tuple(Grade(plain(one.trajectory_id), one.score) for one in scored)
            except TimeoutError:
                failure, detail = JudgeFailure.TIMEOUT, f"no answer within {start.timeout:g} s"
            except OpenAIError as error:  # litellm's errors are subclasses
                failure, detail = JudgeFailure.NO_ANSWER, self._describe(error)
            except ValueError as error:  # from pydantic, json, or ART's check of the count
                failure, detail = JudgeFailure.MALFORMED, self._describe(error)
        return GradeReply(
            number=ask.number,
            grades=grades,
            failure=failure,
            detail=detail,
            prompt_tokens=bill.prompt_tokens,
            completion_tokens=bill.completion_tokens,
            uncounted=bill.uncounted,
            usd=bill.usd,
        )

    def _describe(self, error: Exception) -> str:
        text = " ".join(with_root_cause(error).split())
        if self._start.api_key:
            text = text.replace(self._start.api_key, MASK)  # servers quote the key that they reject
        return plain(text)[:_MAX_DETAIL]  # neither JSON nor Postgres takes every character


async def _serve(out: Any) -> None:
    loop = asyncio.get_running_loop()
    asks: asyncio.Queue[StartJudge | GradeRequest] = asyncio.Queue()
    decoder = msgspec.json.Decoder(StartJudge | GradeRequest)

    def read() -> None:
        for raw in sys.stdin.buffer:
            loop.call_soon_threadsafe(asks.put_nowait, decoder.decode(raw))
        os._exit(0)  # the worker has all its answers, or has ended

    def send(reply: JudgeReady | GradeReply) -> None:
        out.write(msgspec.json.encode(reply) + b"\n")
        out.flush()

    async def answer(ask: GradeRequest) -> None:
        send(await ruler.answer(ask))

    threading.Thread(target=read, name="questions", daemon=True).start()
    start = await asks.get()
    if not isinstance(start, StartJudge):
        raise TypeError("the first line must be StartJudge")
    with collector_at_rest():
        ruler = _Ruler(start)
    send(JudgeReady())
    async with asyncio.TaskGroup() as answering:
        while True:
            ask = await asks.get()
            if isinstance(ask, GradeRequest):
                answering.create_task(answer(ask))


def main() -> None:
    """Answer one worker's questions until it closes stdin."""
    asyncio.run(_serve(take_stdout()))


if __name__ == "__main__":
    main()
