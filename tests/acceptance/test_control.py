"""The control: it is the rewards that teach, and nothing else.

The real small model answers the sandbox's questions and is trained on its own answers, window
after window, once with the rewards that the answers earned and again, from the same beginning,
with these rewards dealt out at random among the answers to the same question.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from openai import AsyncOpenAI

from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.sandbox import markets
from babylon_tasks.sandbox.agents import MAX_TOKENS, TEMPERATURE
from babylon_tasks.sandbox.markets import Market
from babylon_tasks.sandbox.servers import free_port
from babylon_tasks.settings import Settings
from babylon_tasks.training.groups_file import write_groups
from babylon_tasks.training.protocol import TrainRequest
from babylon_tasks.training.supervisor import Trainer

SEED = 1
WINDOWS = 6
MARKETS = 8
AGENTS = 8
LEARNING_RATE = 2.5e-4
SHUFFLES = 3

Deal = Callable[[Sequence[float]], Sequence[float]]


@dataclass
class School:
    """A trainer, how to ask what it serves, and its newest step."""

    settings: Settings
    trainer: Trainer
    newest: int = 0

    def teach(self, deal: Deal) -> int:
        """Windows one after the other, from the base model; the last checkpoint."""
        step = 0
        for number in range(WINDOWS):
            asked_about = markets.window_markets(SEED, number, MARKETS)
            asked = self._ask(step, asked_about, AGENTS)
            groups = [
                group(market, answers, deal)
                for market, answers in zip(asked_about, asked, strict=True)
            ]
            step = self._train(step, [one for one in groups if _has_spread(one)])
        return step

    def worth(self, step: int) -> float:
        """What the answers to questions that nobody was taught earn on average."""
        asked_about = markets.held_out_markets(SEED, 24)
        asked = self._ask(step, asked_about, 4)
        return fmean(
            reward(market, choice.message.content)
            for market, answers in zip(asked_about, asked, strict=True)
            for choice in answers
        )

    def _train(self, parent: int, groups: list[Group]) -> int:
        path = self.settings.data_dir / f"{self.newest}.json"
        write_groups(path, groups)
        request = TrainRequest(
            base_step=self.newest,
            parent_step=parent,
            manifest_hash="0" * 64,
            groups_path=str(path),
            learning_rate=LEARNING_RATE,
            kl_coefficient=0.05,
            seed=SEED,
            packed_sequence_length=512,
        )
        self.newest = self.trainer.train(request).step
        return self.newest

    def _ask(self, step: int, markets: Sequence[Market], n: int) -> list[list[Any]]:
        async def all_at_once() -> list[list[Any]]:
            ready = self.trainer.ready()
            key = self.settings.inference_api_key.get_secret_value()
            async with AsyncOpenAI(base_url=ready.base_url, api_key=key) as client:
                model = f"{self.settings.lineage}@{step}"
                found = await asyncio.gather(
                    *(
                        client.chat.completions.create(
                            model=model,
                            messages=prompt(market),  # type: ignore[arg-type]
                            n=n,
                            temperature=TEMPERATURE,
                            max_tokens=MAX_TOKENS,
                            logprobs=True,
                        )
                        for market in markets
                    )
                )
            return [completion.choices for completion in found]

        return asyncio.run(all_at_once())


def prompt(market: Market) -> list[dict[str, str]]:
    """The sandbox's question, but worded so that the base model seldom answers it.

    That an answer must be YES or NO is learned within six windows, the direction within twenty.
    """
    question, _, _ = market.question.rpartition(" Answer ")
    return [
        {"role": "system", "content": "Answer YES or NO."},
        {"role": "user", "content": question},
    ]


def reward(market: Market, text: str | None) -> float:
    """What an answer earned, in [0, 1]."""
    return (markets.profit(market, markets.read_answer(text or "")) / markets.STAKE + 1) / 2


def group(market: Market, answers: Sequence[Any], deal: Deal) -> Group:
    """The answers to one question, with the rewards that they are dealt."""
    rewards = deal([reward(market, answer.message.content) for answer in answers])
    asked = tuple((message["role"], message["content"]) for message in prompt(market))
    members = [
        Member(
            f"{market.id}-{number}",
            earned,
            (
                LlmCall(
                    model="control@0",
                    messages=asked,
                    response=answer.message.content or "",
                    temperature=TEMPERATURE,
                    logprobs=tuple(token.logprob for token in answer.logprobs.content),
                    token_ids=tuple(answer.token_ids),
                ),
            ),
        )
        for number, (answer, earned) in enumerate(zip(answers, rewards, strict=True))
    ]
    return Group("window", market.id, tuple(members))


def _has_spread(one: Group) -> bool:
    return len({member.reward for member in one.members}) > 1


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    settings = Settings(
        DATABASE_URL="postgresql://nowhere/unused",
        WANDB_API_KEY=None,
        backend="cpu",
        lineage="control",
        data_dir=tmp_path,
        inference_port=free_port(),
        packed_sequence_length=1024,
        seed=SEED,
    )
    with Trainer(settings) as trainer:
        yield School(settings, trainer)


@pytest.mark.long
@pytest.mark.timeout(900)  # it computes for minutes, beside other tests
def test_true_rewards_teach_and_shuffled_ones_do_not(school: School) -> None:
    """Measured with two seeds of questions and five shuffles each, reward of the answers:

    before 0.203 and 0.230 (nearly 4 of 5 cannot be read), true rewards 0.492 and 0.455 (nearly
    all can be), shuffled rewards 0.220 to 0.317 with mean 0.252, and 0.154 to 0.290 with mean
    0.221. Without a signal Adam walks at random, the further the fewer and larger its steps are:
    with half as many windows at twice the rate one shuffle in four came to 0.42.
    """
    before = school.worth(0)
    taught = school.worth(school.teach(lambda rewards: rewards))
    shuffled = []
    for seed in range(SHUFFLES):
        draw = random.Random(seed)
        shuffled.append(school.worth(school.teach(lambda r, d=draw: d.sample(list(r), len(r)))))

    measured = f"before {before:.3f}, taught {taught:.3f}, shuffled {shuffled}"
    assert taught - before > 0.15, measured
    assert fmean(shuffled) - before < 0.12, measured
    assert taught - fmean(shuffled) > 0.15, measured
