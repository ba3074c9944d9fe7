"""What keeps a trainer with much to do alive: its own work, and no other thread's."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from babylon_tasks.training import work
from babylon_tasks.training.protocol import RequestProgress
from babylon_tasks.training.work import (
    noting_layers,
    noting_prompts,
    noting_wait,
    reported,
    went_on,
)


@pytest.fixture(autouse=True)
def _a_second_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two looks at the clock.

    At the module's own name for it: other threads' event loops, as that of W&B's peer, wait by the
    real one, and would wait for ever for a moment of this one.
    """
    seconds = count()
    monkeypatch.setattr(work, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


def test_work_repeats_the_last_progress_without_its_reference() -> None:
    sent: list[RequestProgress] = []

    with reported(sent.append) as report:
        went_on()
        report(RequestProgress(3, 8, loss=0.5, job="job-1"))
        went_on()
    went_on()  # of no request

    assert sent == [
        RequestProgress(0, 0),
        RequestProgress(3, 8, loss=0.5, job="job-1"),
        RequestProgress(3, 8, loss=0.5),
    ]


def test_nothing_is_repeated_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "time", SimpleNamespace(monotonic=lambda: 5.0))
    sent: list[RequestProgress] = []

    with reported(sent.append):
        went_on()

    assert sent == []


def test_threads_of_the_request_count_and_those_that_answer_agents_do_not() -> None:
    sent: list[RequestProgress] = []

    async def request(agents: ThreadPoolExecutor) -> None:
        with reported(sent.append):
            await asyncio.to_thread(went_on)
            await asyncio.wrap_future(agents.submit(went_on))

    with ThreadPoolExecutor(1) as agents:
        agents.submit(went_on).result()  # its thread is there before the request
        asyncio.run(request(agents))

    assert len(sent) == 1


def test_each_layer_counts_forwards_and_backwards() -> None:
    layers = [torch.nn.Linear(4, 4) for _ in range(3)]
    noting_layers(layers)
    sent: list[RequestProgress] = []

    with reported(sent.append):
        states = torch.ones(2, 4)
        with torch.no_grad():
            layers[0](states)
        assert len(sent) == 1
        for layer in layers:
            states = layer(states)
        assert len(sent) == 4
        states.sum().backward()

    assert len(sent) == 7


def test_each_rendered_prompt_counts() -> None:
    class Tokenizer:
        def apply_chat_template(self, messages: list[str], *, tokenize: bool) -> str:
            return f"{messages} {tokenize}"

    sent: list[RequestProgress] = []
    tokenizer = noting_prompts(Tokenizer())

    with reported(sent.append):
        assert tokenizer.apply_chat_template(["a"], tokenize=False) == "['a'] False"

    assert len(sent) == 1


def test_a_wait_for_other_processes_counts_and_for_no_longer_than_its_bound() -> None:
    sent: list[RequestProgress] = []
    silent: list[RequestProgress] = []

    async def start() -> str:
        while len(sent) < 3:
            await asyncio.sleep(1)
        return "started"

    async def request() -> None:
        with reported(sent.append):
            assert await noting_wait(start(), 1e9) == "started"
        with reported(silent.append):
            await noting_wait(asyncio.sleep(9), 0)
            with pytest.raises(ZeroDivisionError):
                await noting_wait(_fails(), 1e9)

    asyncio.run(request())

    assert len(sent) == 3
    assert silent == []


async def _fails() -> None:
    raise ZeroDivisionError
