"""Money spent at a moment, from what is on record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from babylon_tasks.cost.records import (
    CostKind,
    CostRecords,
    CountedAnswers,
    GradedWindow,
    MeasuredRun,
    Prices,
)

_WANDB = "serverless"
_HOUR = 3600.0
_MILLION = 1e6


class Spending(Struct, frozen=True, kw_only=True):
    """Money spent at a moment; ``lacks`` counts what is not in it, by reason."""

    kind: CostKind
    moment: datetime
    money: float | None
    lacks: dict[str, int] = {}
    seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    step_id: int | None = None
    step: int | None = None
    window: str | None = None


class Total(Struct, frozen=True):
    """A sum of spendings; ``money`` is None where none of them is known."""

    money: float | None
    lacks: dict[str, int]
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    count: int


def spendings(records: CostRecords, prices: Prices) -> list[Spending]:
    """Price each thing on record, in the order of time."""
    found = [
        *(_run(one, prices) for one in records.runs),
        *(_grading(one, prices) for one in records.gradings),
        *(_answers(one, prices, CostKind.SCREENS) for one in records.screens),
        *(_answers(one, prices, CostKind.ANSWERS) for one in records.answers),
    ]
    return sorted(found, key=lambda one: one.moment)


def total(spent: Iterable[Spending]) -> Total:
    """Add up spendings."""
    each = list(spent)
    lacks = Counter[str]()
    for one in each:
        lacks.update(one.lacks)
    known = [one.money for one in each if one.money is not None]
    return Total(
        money=sum(known) if known else None,
        lacks=dict(lacks.most_common()),
        seconds=sum(one.seconds for one in each),
        prompt_tokens=sum(one.prompt_tokens for one in each),
        completion_tokens=sum(one.completion_tokens for one in each),
        count=len(each),
    )


def _run(run: MeasuredRun, prices: Prices) -> Spending:
    at_wandb = run.backend == _WANDB
    price = prices.wandb_training_hour if at_wandb else prices.gpu_hour
    setting = "BABYLON_WANDB_TRAINING_HOUR_PRICE" if at_wandb else "BABYLON_GPU_HOUR_PRICE"
    if run.seconds is None:
        money, lacks = None, {"runs whose worker was lost: when they ended is not known": 1}
    elif price is None:
        money, lacks = None, {f"runs of steps: {setting} is not set": 1}
    else:
        money, lacks = run.seconds / _HOUR * price, {}
    return Spending(
        kind=CostKind.TRAINING,
        moment=run.moment,
        money=money,
        lacks=lacks,
        seconds=run.seconds or 0.0,
        step_id=run.step_id,
        step=run.step,
    )


def _grading(one: GradedWindow, prices: Prices) -> Spending:
    money, lacks = one.usd, Counter[str]()
    if one.uncounted:
        lacks["answers of the judge whose tokens were not counted"] = one.uncounted
    if one.uncounted and not one.prompt_tokens:
        money = None
    elif prices.ruler_prompt is not None and prices.ruler_completion is not None:
        money = (
            one.prompt_tokens * prices.ruler_prompt
            + one.completion_tokens * prices.ruler_completion
        ) / _MILLION
    elif money is None:
        lacks[
            f"windows graded by {one.model}: litellm knows no price, and "
            "BABYLON_RULER_PROMPT_PRICE and BABYLON_RULER_COMPLETION_PRICE are not both set"
        ] = 1
    return Spending(
        kind=CostKind.RULER,
        moment=one.moment,
        money=money,
        lacks=dict(lacks),
        prompt_tokens=one.prompt_tokens,
        completion_tokens=one.completion_tokens,
        window=one.window,
    )


def _answers(one: CountedAnswers, prices: Prices, kind: CostKind) -> Spending:
    lacks = Counter[str]()
    parts: list[float] = []
    if one.backend != _WANDB:
        # Own hardware answers: its hours are paid for, whether it trains, answers or waits.
        lacks["answers of own hardware: its time for them is not measured"] = one.answers
    elif one.questions and not one.answers:
        lacks["screens whose answers are pruned"] = 1
    else:
        for what, price, tokens, without in (
            ("PROMPT", prices.wandb_prompt, one.prompt_tokens, one.without_prompt),
            ("COMPLETION", prices.wandb_completion, one.completion_tokens, one.without_completion),
        ):
            if price is None:
                lacks[f"answers at W&B: BABYLON_WANDB_{what}_PRICE is not set"] = one.answers
                continue
            if without:
                lacks[f"answers whose {what.lower()} tokens were not counted"] = without
            if without < one.answers:
                parts.append(tokens * price / _MILLION)
    return Spending(
        kind=kind,
        moment=one.moment,
        money=sum(parts) if parts else None,
        lacks={what: count for what, count in lacks.items() if count},
        prompt_tokens=one.prompt_tokens,
        completion_tokens=one.completion_tokens,
        step=one.step,
    )
