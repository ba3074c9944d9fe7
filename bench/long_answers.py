"""Steps of long answers to long prompts on ``cpu``: ``python -m bench.long_answers --steps 10``.

The whole loop, hour after hour: agents ask the trainer's own endpoint with prompts of 1,200 tokens
for answers of up to 300, their rows are scored, trained on and the checkpoint is promoted. Each
group has, beside the ordinary ones, a trajectory whose prompt no model's row can hold and one of
another model. Prints the result for every trajectory, seconds of sampling and of each step, and
the trainer's peak resident memory. Exit code 1 if a trajectory is in no account, or in two.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct
from openai import AsyncOpenAI
from pydantic import SecretStr

from babylon_tasks.db.babylon import create
from babylon_tasks.db.migrate import apply
from babylon_tasks.db.session import Connection, session
from babylon_tasks.log import configure
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train_and_evaluate import train_and_evaluate
from babylon_tasks.registry.serving import promote, serving
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings
from babylon_tasks.training.supervisor import Trainer
from babylon_tasks.windows import WINDOW as HOUR
from babylon_tasks.windows import window_id, window_start
from bench.other_work import OtherWork
from bench.plan import accounts  # puts tests/ on the path

from factories import EVER, WINDOW, exact_call, insert_trajectories, step, trajectory  # isort: skip

PROMPT, ANSWER = 1200, 300  # tokens
_TEXT = (
    "market price share profit loss volume rumour supplier founder bank target trade hour week "
    "report signal trend risk hedge order spread quote margin index sector growth demand"
)
_SYSTEM = "You trade on prediction markets. Think aloud, at length, before you answer YES or NO."


class Asked(Struct, frozen=True):
    """The measurements of one hour; ``tokens`` are those of its answers, ``peak`` in GiB."""

    sampling: float
    training: float
    tokens: int
    trained: int
    gradient_steps: int
    peak: float


def prompt(seed: int) -> str:
    """Write a prompt of about so many tokens: each word is one, with the space before it."""
    draw, words = random.Random(seed), _TEXT.split()
    return " ".join(draw.choice(words) for _ in range(PROMPT - 60)) + ". Will ACME close higher?"


async def answers(trainer: Trainer, settings: Settings, model: str, text: str, n: int) -> list[Any]:
    """Ask the endpoint as an agent does."""
    async with AsyncOpenAI(
        base_url=trainer.ready().base_url,
        api_key=settings.inference_api_key.get_secret_value(),
        timeout=3600,
    ) as client:
        completion = await client.chat.completions.create(
            model=model,
            messages=[{"role": "system", "content": _SYSTEM}, {"role": "user", "content": text}],
            n=n,
            temperature=1.0,
            max_tokens=ANSWER,
            logprobs=True,
        )
    return list(completion.choices)


def rows(window: str, group: int, model: str, text: str, choices: Sequence[Any]) -> list[Any]:
    """Make the group's trajectories: the answers', and the two that must be refused."""
    calls = [
        exact_call(
            choice.message.content or "",
            logprobs=[token.logprob for token in choice.logprobs.content],
            token_ids=choice.token_ids,
            model=model,
            systemPrompt=_SYSTEM,
            userPrompt=text,
            maxTokens=ANSWER,
        )
        for choice in choices
    ]
    calls.append(exact_call("YES", model=model, systemPrompt=_SYSTEM, userPrompt=text * 8))
    calls.append(exact_call("YES", model="qwen/qwen3-32b", systemPrompt=_SYSTEM, userPrompt=text))
    draw = random.Random(f"{window}/{group}")
    return [
        trajectory(
            window,
            f"agent-{number}",
            [step(0, [call], window=window)],
            scenario=f"question-{group}",
            final_pnl=draw.gauss(0, 500),
        )
        for number, call in enumerate(calls)
    ]


def hour(
    settings: Settings, trainer: Trainer, connection: Connection, number: int, given: Any
) -> Asked:
    """Play one hour: ask, record, score, train, promote; raises SystemExit if nothing is."""
    window = window_id(window_start(WINDOW) + number * HOUR)
    serving_step = serving(connection, settings.lineage).step if number else 0
    model = f"{settings.lineage}@{serving_step}"
    began = time.monotonic()
    tokens = 0
    for group in range(given.groups):
        text = prompt(number * 100 + group)
        choices = asyncio.run(answers(trainer, settings, model, text, given.answers))
        tokens += sum(len(choice.token_ids) for choice in choices)
        insert_trajectories(connection, rows(window, group, model, text, choices))
    sampled = time.monotonic()
    discover(settings, actor="bench")
    score_window(settings, window, actor="bench")
    outcome, gate = train_and_evaluate(
        settings,
        trainer,
        window=window,
        actor="bench",
        on_training=lambda _: None,
        on_evaluation=lambda _: None,
    )
    if outcome.result is None or outcome.step is None or gate is None:
        sys.exit(f"hour {window} was not trained: {outcome}; {gate}")
    promote(connection, settings.lineage, outcome.step, reason="bench", figures={}, actor="bench")
    return Asked(
        sampled - began,
        time.monotonic() - sampled,
        tokens,
        outcome.result.trainable_tokens,
        outcome.result.gradient_steps,
        _peak(trainer.pid),
    )


def _peak(pid: int | None) -> float:
    """Return a process's peak resident memory, in GiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
    return kib / 2**20


def play(url: str, folder: Path, given: Any) -> list[Asked]:
    """Run all hours with one trainer, and print each."""
    values = {"base_model": given.model} if given.model else {}
    settings = Settings(
        **{
            "DATABASE_URL": SecretStr(url),
            "WANDB_API_KEY": None,
            "backend": "cpu",
            "torch_device": "cpu",
            "data_dir": folder / "models",
            "inference_port": 0,
            "inference_timeout_seconds": 3600,
            "held_out_share": 0,
            "promotion_mode": "manual",
            "lookback_hours": EVER,
            "grace_seconds": 0,
            "outcome_wait_hours": 0,
            "log_level": "ERROR",
            **values,
        }
    )
    configure(settings)
    create(settings)
    apply(settings)
    found = []
    print("step  answer tokens  trained  gradient steps  sampling s  step s  peak GiB", flush=True)
    with Trainer(settings) as trainer, session(settings) as connection:
        trainer.ready()
        for number in range(given.steps):
            one = hour(settings, trainer, connection, number, given)
            found.append(one)
            print(
                f"{number + 1:4}  {one.tokens:13}  {one.trained:7}  {one.gradient_steps:14}  "
                f"{one.sampling:10.1f}  {one.training:6.1f}  {one.peak:8.2f}",
                flush=True,
            )
    return found


def main() -> None:
    """Play, count, print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--steps", type=int, default=10)
    asked.add_argument("--groups", type=int, default=1, help="of each hour")
    asked.add_argument("--answers", type=int, default=4, help="of each group")
    asked.add_argument("--model", help="a folder, instead of the packaged model")
    given = asked.parse_args()
    began, other = time.monotonic(), OtherWork()
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "pg") as postgres:
        found = play(postgres.url, Path(name), given)
        counts, lost = accounts(postgres.url)
    for what, count in counts.most_common():
        print(f"{count:6}  {what}")
    print(f"{lost:6}  in no account, or in two")
    took = timedelta(seconds=round(time.monotonic() - began))
    print(
        f"{sum(counts.values())} trajectories; {len(found)} steps in {took}; {os.cpu_count()} "
        f"cores, {platform.machine()}, Python {platform.python_version()}; {other}"
    )
    sys.exit(lost > 0)


if __name__ == "__main__":
    main()
