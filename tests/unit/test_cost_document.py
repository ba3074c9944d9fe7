"""docs/cost.md: its example is computed from its assumptions, by the ledger's own formulas."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from documents import ROOT

from babylon_tasks.cost.ledger import Ledger, ledger
from babylon_tasks.cost.records import (
    CostKind,
    CostRecords,
    CountedAnswers,
    GradedWindow,
    MeasuredRun,
    Prices,
)
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.unit
TEXT = (ROOT / "docs" / "cost.md").read_text("utf-8").partition("## An example")[2]
GIVEN = {
    name: float(value.replace(",", ""))
    for name, value in re.findall(r"^\| ([^|]+?) \| ([\d,.]+) \|", TEXT, re.MULTILINE)
}
NOW = datetime(2026, 1, 31, tzinfo=UTC)
HOURS = 24


def a_day(backend: str, prices: Prices) -> Ledger:
    """What a day of the example costs, by these prices."""
    calls = GIVEN["agents"] * GIVEN["calls of an agent in an hour"] * HOURS
    screened = GIVEN["steps in a day"] * 2 * GIVEN["questions of a screen"]
    run = MeasuredRun(1, 1, backend, NOW, GIVEN["seconds of a step"])
    graded = GradedWindow(
        "2026-01-31T00:00",
        NOW,
        "judge",
        int(GIVEN["prompt tokens of the judge for an hour"]),
        int(GIVEN["answer tokens of the judge for an hour"]),
        None,
    )
    return ledger(
        CostRecords(
            runs=[run] * int(GIVEN["steps in a day"]),
            gradings=[graded] * HOURS,
            screens=[_answers(backend, screened)],
            answers=[_answers(backend, calls)],
            steps=[],
            promotions=[],
        ),
        prices,
    )


def _answers(backend: str, number: float) -> CountedAnswers:
    return CountedAnswers(
        moment=NOW,
        backend=backend,
        answers=int(number),
        without_prompt=0,
        without_completion=0,
        prompt_tokens=int(number * GIVEN["prompt tokens of a call"]),
        completion_tokens=int(number * GIVEN["answer tokens of a call"]),
    )


def wandb(training_hour: float) -> Ledger:
    prices = Prices(
        wandb_training_hour=training_hour,
        wandb_prompt=GIVEN["W&B, a million prompt tokens"],
        wandb_completion=GIVEN["W&B, a million answer tokens"],
        ruler_prompt=GIVEN["judge, a million prompt tokens"],
        ruler_completion=GIVEN["judge, a million answer tokens"],
    )
    return a_day("serverless", prices)


def own_hour() -> float:
    """A bought card, by the hour of its years."""
    hours = GIVEN["years that it is used"] * 8766
    power = GIVEN["kilowatts, with its machine"] * GIVEN["a kilowatt hour"]
    return GIVEN["a card and its machine"] / hours + power


def line(name: str, found: Ledger, *, machine: float = 0.0) -> str:
    """A row of the example's result; ``machine`` is paid for by the day, whatever it does."""
    money = {kind: found.kinds[kind].money or 0.0 for kind in CostKind}
    shown = {kind: f"{one:.2f}" for kind, one in money.items()}
    if machine:
        money = {CostKind.TRAINING: machine, CostKind.RULER: money[CostKind.RULER]}
        shown |= {CostKind.TRAINING: f"{machine:.2f}"}
        shown |= dict.fromkeys((CostKind.SCREENS, CostKind.ANSWERS), "in it")
    day = sum(money.values()) - money[CostKind.RULER]
    return f"| {name} | {' | '.join(shown[kind] for kind in CostKind)} | {day:.2f} |"


def by_the_day(price: float) -> Ledger:
    prices = Prices(gpu_hour=price, ruler_prompt=GIVEN["judge, a million prompt tokens"],
                    ruler_completion=GIVEN["judge, a million answer tokens"])  # fmt: skip
    return a_day("local", prices)


def test_the_example_is_what_its_assumptions_cost() -> None:
    rented = GIVEN["a rented H100 for an hour"]
    rows = [
        line("W&B, training free", wandb(0.0)),
        line("W&B, if training cost as much as a rented card", wandb(rented)),
        line("own card", by_the_day(own_hour()), machine=own_hour() * HOURS),
        line("rented card", by_the_day(rented), machine=rented * HOURS),
    ]

    assert [row for row in rows if row not in TEXT] == []


def test_when_a_card_costs_less_than_tokens_is_what_the_assumptions_say() -> None:
    prompt, answer = GIVEN["prompt tokens of a call"], GIVEN["answer tokens of a call"]
    call = (
        prompt * GIVEN["W&B, a million prompt tokens"]
        + answer * GIVEN["W&B, a million answer tokens"]
    ) / 1e6
    screens = wandb(0.0).kinds[CostKind.SCREENS].money or 0.0
    said = [
        f"{(hour * HOURS - screens) / call / 1000:,.0f},000 calls a day"
        for hour in (own_hour(), GIVEN["a rented H100 for an hour"])
    ]

    assert [one for one in said if one not in TEXT] == []
    assert f"${own_hour():.2f} an hour" in TEXT


def test_what_is_a_default_is_the_default() -> None:
    assert GIVEN["questions of a screen"] == Settings.model_fields["screen_questions"].default
