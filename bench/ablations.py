"""What the defaults of training are worth: ``python -m bench.ablations --seeds 8``.

A model learns, window after window, to answer the sandbox's questions from its own answers, by
the ``cpu`` backend's real steps. Each variant changes one value; all variants of a seed see the
same questions and begin with the same weights. By default the model is the tests' tiny one, of two
random layers: what is compared is the loss, not the model. ``--model`` takes another.

Cases: ``clean`` (right answers earn 1, wrong ones 0), ``flat`` (in every second group rewards
differ by noise alone, of 0.005), ``stale`` (answers are those of the policy four steps ago), and
``noisy`` (three in ten rewards are the wrong way round).
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from msgspec import Struct

from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.sandbox import markets
from babylon_tasks.sandbox.markets import SYSTEM_PROMPT, Market
from babylon_tasks.training import backends
from babylon_tasks.training.protocol import TrainRequest
from babylon_tasks.training.trainer_start import StartTrainer
from bench.other_work import OtherWork

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

MARKETS, AGENTS, HELD_OUT = 8, 8, 24
LAG = 4  # of stale answers, in steps
CASES = ("clean", "flat", "stale", "noisy")


class Variant(Struct, frozen=True):
    """One value that differs from the defaults, and the cases that it is tried in."""

    name: str
    cases: tuple[str, ...] = CASES
    learning_rate: float = 1.0  # times the one that is given
    kl_coefficient: float = 0.05
    scale_rewards: bool = True
    max_importance_ratio: float | None = 2.0


VARIANTS = (
    Variant("defaults"),
    Variant("scale_rewards false", ("clean", "flat", "noisy"), scale_rewards=False),
    Variant("kl 0", ("stale", "noisy"), kl_coefficient=0.0),
    Variant("kl 0.2", ("stale", "noisy"), kl_coefficient=0.2),
    Variant("importance ratio up to 5", ("stale",), max_importance_ratio=None),
    Variant("importance ratio up to 1", ("stale",), max_importance_ratio=1.0),
    Variant("a third of the rate", ("clean", "noisy"), learning_rate=1 / 3),
)


class School:
    """The backend in this process, the two answers, and how probable the policy finds them."""

    def __init__(self, backend: Any, policy: Any, folder: Path) -> None:
        self._backend = backend
        self._policy = policy
        self._path = folder / "groups.json"
        self._newest = 0
        end = policy.tokenizer.eos_token_id
        encode = policy.tokenizer.encode
        self._answers = {
            word: (*encode(word, add_special_tokens=False), end) for word in ("Yes", "No")
        }

    async def run(self, variant: Variant, case: str, seed: int, windows: int, rate: float) -> float:
        """Train from the base model; return the share of right answers on held-out questions."""
        draw = random.Random(f"{seed}/{case}")
        steps = [0]
        for number in range(windows):
            behaviour = steps[max(0, len(steps) - 1 - LAG)] if case == "stale" else steps[-1]
            groups = [
                self._group(
                    market, behaviour, draw, flat=case == "flat" and place % 2 == 0, case=case
                )
                for place, market in enumerate(markets.window_markets(seed, number, MARKETS))
            ]
            teach = [one for one in groups if len({member.reward for member in one.members}) > 1]
            if teach:
                steps.append(await self._step(variant, teach, steps[-1], seed, rate))
        asked = markets.held_out_markets(seed, HELD_OUT)
        return fmean(self._right(market, steps[-1]) for market in asked)

    async def _step(
        self, variant: Variant, groups: Sequence[Group], parent: int, seed: int, rate: float
    ) -> int:
        request = TrainRequest(
            base_step=self._newest,
            parent_step=parent,
            manifest_hash="",
            groups_path=str(self._path),
            learning_rate=rate * variant.learning_rate,
            kl_coefficient=variant.kl_coefficient,
            seed=seed,
            packed_sequence_length=1024,
            scale_rewards=variant.scale_rewards,
            max_importance_ratio=variant.max_importance_ratio,
        )
        trained = await self._backend.train(request, groups, lambda _: None)
        assert trained.step == self._newest + 1, trained
        self._newest = trained.step
        return self._newest

    def _group(
        self, market: Market, step: int, draw: random.Random, *, flat: bool, case: str
    ) -> Group:
        logprobs = self._logprobs(market, step)
        words = list(logprobs)
        weights = [
            math.exp(sum(logprobs[word]) - max(map(sum, logprobs.values()))) for word in words
        ]
        members = []
        for number in range(AGENTS):
            word = draw.choices(words, weights)[0]
            right = (word == "Yes") == market.rises
            if case == "noisy" and draw.random() < 0.3:
                right = not right
            reward = 0.5 + draw.gauss(0, 0.005) if flat else float(right)
            call = LlmCall(
                model=f"ablations@{step}",
                messages=_messages(market),
                response=word,
                temperature=1.0,
                policy_step=step,
                logprobs=logprobs[word],
                token_ids=self._answers[word],
            )
            members.append(Member(f"{market.id}-{number}", reward, (call,)))
        return Group("window", market.id, tuple(members))

    def _right(self, market: Market, step: int) -> float:
        logprobs = {word: sum(found) for word, found in self._logprobs(market, step).items()}
        right = logprobs["Yes" if market.rises else "No"]
        wrong = logprobs["No" if market.rises else "Yes"]
        return 1 / (1 + math.exp(min(wrong - right, 700)))

    def _logprobs(self, market: Market, step: int) -> dict[str, tuple[float, ...]]:
        from babylon_tasks.training.rescoring import answer_logprobs

        chat = [{"role": role, "content": text} for role, text in _messages(market)]
        prompt = self._policy.tokenizer.apply_chat_template(chat, add_generation_prompt=True)
        asked = tuple(prompt["input_ids"])
        pairs = [(asked, ids) for ids in self._answers.values()]
        [found] = answer_logprobs(self._policy, step, pairs)
        return {word: found[asked, ids] for word, ids in self._answers.items()}


def _messages(market: Market) -> tuple[tuple[str, str], ...]:
    return (("system", SYSTEM_PROMPT), ("user", market.question))


def tiny_model(folder: Path, seed: int) -> str:
    """Write the tests' tiny model, its weights drawn so that the answer depends on the question."""
    import torch
    from models import save_tiny_model
    from transformers import AutoModelForCausalLM

    save_tiny_model(folder, seed=seed)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.05)
    model.save_pretrained(folder)
    return str(folder)


async def school(model: str, folder: Path) -> School:
    """Open a ``cpu`` backend in this process; it also serves, on a free port of the loopback."""
    start = StartTrainer(
        backend="cpu",
        lineage="ablations",
        base_model=model,
        project="bench",
        data_dir=str(folder),
        inference_host="127.0.0.1",
        inference_port=0,
        inference_api_key="default",
        torch_device="cpu",
    )
    backend: Any = backends.make(start)
    await backend.open()
    service = await backend.art._get_service(backend.model)
    return School(backend, service.policy, folder)


async def compare(given: argparse.Namespace) -> dict[tuple[str, str], list[float]]:
    """Run every variant in its cases on every seed; returns the share of right answers of each."""
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(given.seeds):
            model = given.model or tiny_model(folder / f"tiny-{seed}", seed)
            taught = await school(model, folder / f"data-{seed}")
            for case in CASES:
                for variant in VARIANTS:
                    if case not in variant.cases or (given.cases and case not in given.cases):
                        continue
                    right = await taught.run(variant, case, seed, given.windows, given.rate)
                    found.setdefault((case, variant.name), []).append(right)
                    print(f"seed {seed}  {case:6} {variant.name:26} {right:.3f}", file=sys.stderr)
            await taught._backend.close()
    return found


def table(found: dict[tuple[str, str], list[float]]) -> list[str]:
    """Format the means, and each difference from the defaults with twice its standard error."""
    lines = [
        "| case | variant | right | difference | |",
        "|---|---|---|---|---|",
    ]
    for (case, variant), values in found.items():
        line = f"| {case} | {variant} | {fmean(values):.3f} |"
        if variant != VARIANTS[0].name:
            pairs = zip(values, found[case, VARIANTS[0].name], strict=True)
            differences = [value - base for value, base in pairs]
            mean = fmean(differences)
            error = (
                2 * stdev(differences) / math.sqrt(len(differences))
                if len(differences) > 1
                else 1.0
            )
            verdict = "cannot tell" if abs(mean) <= error else "better" if mean > 0 else "worse"
            line += f" {mean:+.3f} ± {error:.3f} | {verdict} |"
        else:
            line += " | |"
        lines.append(line)
    return lines


def main() -> None:
    """Compare, and print the table as docs/decisions.md has it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=8)
    asked.add_argument("--windows", type=int, default=12)
    asked.add_argument("--rate", type=float, default=3e-3, help="4e-4 for the packaged model")
    asked.add_argument(
        "--model", help="SmolLM2-135M-Instruct, or a folder, instead of the tiny one"
    )
    asked.add_argument("--cases", nargs="*", choices=CASES, default=())
    given = asked.parse_args()
    began, other = time.monotonic(), OtherWork()
    found = asyncio.run(compare(given))
    print("\n".join(table(found)))
    model = given.model or "the tiny model"
    print(
        f"{given.seeds} seeds, {given.windows} windows of {MARKETS} questions with {AGENTS} "
        f"answers each, {model} at {given.rate:g}; {time.monotonic() - began:.0f} s; {other}"
    )


if __name__ == "__main__":
    main()
