"""What a model learns in the likeness of Babylon, outside of the stack: one process, few minutes.

    python -m bench.babylon_world --seed 0 --calls 240 --batches 2 --windows 8

The warm start takes batches of the external model's better answers, by the ``cpu`` backend's real
supervised steps, each followed by an evaluation; then windows of the policy's own answers, by its
GRPO steps. Prints each batch and window, and both evaluations.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.sandbox.babylon_world import external_model, markets
from babylon_tasks.sandbox.babylon_world.answers import Act, act, is_right
from babylon_tasks.sandbox.babylon_world.markets import BabylonMarket
from babylon_tasks.step_records import SupervisedConfig
from babylon_tasks.training import backends
from babylon_tasks.training.protocol import TrainRequest
from babylon_tasks.training.trainer_start import StartTrainer

MARKETS, AGENTS, MAX_TOKENS = 8, 8, 48


def earned(market: BabylonMarket, done: Act) -> float:
    """Compute what an answer earned per unit staked, in [-1, 1]."""
    if done.failed:
        return -1.0
    if done.yes is None:
        return 0.0
    price = market.yes_price if done.yes else 1 - market.yes_price
    won, lost = min(1.0, (1 - price) / price), min(1.0, price / (1 - price))
    return won if done.yes == market.yes else -lost


def described(pairs: Sequence[tuple[BabylonMarket, Act]]) -> str:
    """Write the shares of a set of answers."""
    trades = [(market, done) for market, done in pairs if done.yes is not None]
    n, t = len(pairs), max(1, len(trades))
    right = sum(is_right(market, done) for market, done in trades)
    follows = [(m.unseen, done.yes == m.good) for m, done in trades]
    by = {kind: fmean([f for u, f in follows if u is kind] or [0.0]) for kind in (False, True)}
    why = Counter(done.failed for _, done in pairs if done.failed is not None)
    return (
        f"valid {sum(done.valid for _, done in pairs) / n:.3f}  failed "
        f"{sum(done.failed is not None for _, done in pairs) / n:.3f}  right of trades "
        f"{right / t:.3f}  of all {right / n:.3f}  follows {by[False]:.2f}/{by[True]:.2f}  yes "
        f"{sum(bool(done.yes) for _, done in trades) / t:.2f}  amount "
        f"{fmean([done.amount for _, done in trades] or [0.0]):.0f}  {dict(why)}"
    )


class School:
    """The backend in this process."""

    def __init__(self, backend: Any, policy: Any, folder: Path, given: argparse.Namespace) -> None:
        self._backend, self._policy, self._path = backend, policy, folder / "groups.json"
        self._given = given
        self.newest = 0

    def sampled(
        self, asked: Sequence[BabylonMarket], n: int, *, at_once: int = 8
    ) -> list[tuple[BabylonMarket, Any]]:
        """Ask the newest checkpoint about each market ``n`` times."""
        from babylon_tasks.training.sampling import SamplingRequest, sample

        found = []
        for first in range(0, len(asked), at_once):
            part = asked[first : first + at_once]
            requests = [
                SamplingRequest(
                    tuple(
                        self._policy.tokenizer.apply_chat_template(
                            markets.messages(market), add_generation_prompt=True
                        )["input_ids"]
                    ),
                    n=n,
                    max_tokens=MAX_TOKENS,
                )
                for market in part
            ]
            answers = sample(self._policy, requests, step=self.newest)
            found += [
                (market, one) for market, some in zip(part, answers, strict=True) for one in some
            ]
        return found

    async def train(self, groups: Sequence[Group], rate: float, *, supervised: bool) -> Any:
        """Take one step, supervised or of GRPO."""
        config = SupervisedConfig(
            epochs=1,
            calls_per_gradient_step=4,
            warmup_gradient_steps=5,
            top_share=0.25,
            decision_weight=self._given.weight,
        )
        request = TrainRequest(
            base_step=self.newest,
            manifest_hash="",
            groups_path=str(self._path),
            learning_rate=rate,
            kl_coefficient=0.0 if supervised else self._given.kl,
            seed=self._given.seed,
            packed_sequence_length=self._given.row,
            max_importance_ratio=2.0,
            supervised=config if supervised else None,
        )
        trained = await self._backend.train(request, groups, lambda _: None)
        self.newest = trained.step
        return trained


def better(seed: int, hours: range) -> list[Group]:
    """Choose the external model's best two of eight answers about each market."""
    groups = []
    for hour in hours:
        for market in markets.hour_markets(seed, hour, MARKETS):
            texts = [
                external_model.answer(
                    seed, f"a-{one}", *(m["content"] for m in markets.messages(market))
                )
                for one in range(AGENTS)
            ]
            ranked = sorted(texts, key=lambda text: -earned(market, act(market, text)))
            kept = [text for text in ranked[:2] if earned(market, act(market, text)) > 0]
            members = [_member(market, number, 1.0, text) for number, text in enumerate(kept)]
            if members:
                groups.append(Group(f"h-{hour}", market.id, tuple(members)))
    return groups


def _member(market: BabylonMarket, number: int, reward: float, text: str, **more: Any) -> Member:
    call = LlmCall(
        model="bench@0",
        messages=tuple((one["role"], one["content"]) for one in markets.messages(market)),
        response=text,
        temperature=1.0,
        **more,
    )
    return Member(f"{market.id}-{number}", reward, (call,))


def sampled_groups(step: int, found: Sequence[tuple[BabylonMarket, Any]]) -> list[Group]:
    """Make GRPO's groups of sampled answers; those without spread are left out."""
    by: dict[str, list[tuple[BabylonMarket, Any]]] = {}
    for market, one in found:
        by.setdefault(market.id, []).append((market, one))
    groups = []
    for name, some in by.items():
        rewards = [earned(market, act(market, one.text)) for market, one in some]
        if max(rewards) - min(rewards) > 1e-3:
            members = [
                _member(
                    market,
                    number,
                    reward,
                    one.text,
                    policy_step=step,
                    logprobs=tuple(one.logprobs),
                    token_ids=tuple(one.token_ids),
                    finish_reason=one.finish_reason,
                )
                for number, ((market, one), reward) in enumerate(zip(some, rewards, strict=True))
            ]
            groups.append(Group("w", name, tuple(members)))
    return groups


async def learn(given: argparse.Namespace, folder: Path) -> None:
    """Warm start, windows, evaluations."""
    began = time.monotonic()
    start = StartTrainer(
        backend="cpu",
        lineage="bench",
        base_model="SmolLM2-135M-Instruct",
        project="bench",
        data_dir=str(folder),
        inference_host="127.0.0.1",
        inference_port=0,
        inference_api_key="default",
        torch_device="cpu",
        torch_threads=given.threads,
    )
    backend: Any = backends.make(start)
    await backend.open()
    service = await backend.art._get_service(backend.model)
    school = School(backend, service.policy, folder, given)

    def say(what: str, detail: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {what:12} {detail}", flush=True)

    def examine(what: str, count: int, purpose: str) -> None:
        asked = markets.kept_markets(given.seed, count, purpose=purpose)
        found = school.sampled(asked, 2, at_once=16)
        say(what, described([(market, act(market, one.text)) for market, one in found]))

    hours = -(-given.calls // (2 * MARKETS))
    for batch in range(given.batches):
        groups = better(given.seed, range(batch * hours, (batch + 1) * hours))
        count = sum(len(group.members) for group in groups)
        trained = await school.train(groups, given.supervised_rate, supervised=True)
        say(f"warm {batch}", f"{count} calls, loss {trained.metrics.get('loss/train', 0):.3f}")
        if given.check:
            examine("", given.check, "check")
    draw = random.Random(given.seed)
    for window in range(given.windows):
        asked = markets.hour_markets(given.seed, 500 + window, given.markets)
        draw.shuffle(asked)
        found = school.sampled(asked, given.answers)
        pairs = [(market, act(market, one.text)) for market, one in found]
        groups = sampled_groups(school.newest, found)
        say(f"window {window}", f"{described(pairs)}  groups {len(groups)}")
        if groups:
            await school.train(groups, given.rate, supervised=False)
    if given.windows:
        examine("held out", 80, "held-out")
    await backend.close()


def main() -> None:
    """Learn once, and print it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--calls", type=int, default=240, help="of one batch of the warm start")
    asked.add_argument("--batches", type=int, default=2)
    asked.add_argument("--check", type=int, default=40, help="markets asked about after each batch")
    asked.add_argument("--supervised-rate", type=float, default=2e-3)
    asked.add_argument("--weight", type=float, default=4.0, help="of the token yes or no")
    asked.add_argument("--windows", type=int, default=10)
    asked.add_argument("--markets", type=int, default=8)
    asked.add_argument("--answers", type=int, default=8)
    asked.add_argument("--rate", type=float, default=3e-4)
    asked.add_argument("--kl", type=float, default=0.0)
    asked.add_argument("--row", type=int, default=2048)
    asked.add_argument("--threads", type=int, default=1)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(learn(given, Path(name)))


if __name__ == "__main__":
    main()
