"""What a lineage costs: sums, parts and what is not in them, by hand-made records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from babylon_tasks.cost.budget import within_again
from babylon_tasks.cost.ledger import ledger
from babylon_tasks.cost.records import (
    CostKind,
    CostRecords,
    CountedAnswers,
    GradedWindow,
    MeasuredRun,
    Prices,
    Promoted,
    StepTook,
)
from babylon_tasks.cost.spending import Spending, spendings

pytestmark = pytest.mark.unit
START = datetime(2026, 1, 31, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
NONE = CostRecords([], [], [], [], [], [])
ONE, TWO = "2026-01-31T07:00", "2026-01-31T08:00"


def run(hours_later: float = 0, *, step_id: int = 1, **fields: Any) -> MeasuredRun:
    made = MeasuredRun(step_id, step_id, "local", START + hours_later * HOUR, 1800.0)
    return structs.replace(made, **fields)


def answers(**fields: Any) -> CountedAnswers:
    counted: dict[str, Any] = {
        "moment": START,
        "backend": "serverless",
        "answers": 10,
        "without_prompt": 0,
        "without_completion": 0,
        "prompt_tokens": 2_000_000,
        "completion_tokens": 1_000_000,
    }
    return CountedAnswers(**counted | fields)


def spent(hours_later: float, money: float | None) -> Spending:
    return Spending(kind=CostKind.TRAINING, moment=START + hours_later * HOUR, money=money)


def test_a_run_costs_its_hours() -> None:
    found = ledger(structs.replace(NONE, runs=[run(), run()]), Prices(gpu_hour=4.0))

    assert found.total.money == pytest.approx(4.0)
    assert (found.total.seconds, found.total.lacks) == (3600.0, {})
    assert list(found.kinds) == ["training"]


@pytest.mark.parametrize(
    ("made", "prices", "lack"),
    [
        (run(), Prices(), "BABYLON_GPU_HOUR_PRICE"),
        (run(), Prices(wandb_training_hour=1), "BABYLON_GPU_HOUR_PRICE"),
        (run(backend="serverless"), Prices(gpu_hour=1), "BABYLON_WANDB_TRAINING_HOUR_PRICE"),
        (run(seconds=None), Prices(gpu_hour=1), "worker was lost"),
    ],
)
def test_what_is_not_known_is_named_and_is_not_nothing(
    made: MeasuredRun, prices: Prices, lack: str
) -> None:
    found = ledger(structs.replace(NONE, runs=[made]), prices).total

    assert found.money is None
    assert [(lack in reason, count) for reason, count in found.lacks.items()] == [(True, 1)]


def test_what_is_free_costs_nothing_and_is_known() -> None:
    free = Prices(wandb_training_hour=0.0)
    found = ledger(structs.replace(NONE, runs=[run(backend="serverless")]), free).total

    assert (found.money, found.lacks) == (0.0, {})


def test_the_rest_is_added_up_where_one_thing_is_not_known() -> None:
    found = ledger(structs.replace(NONE, runs=[run(), run(seconds=None)]), Prices(gpu_hour=4.0))

    assert found.total.money == pytest.approx(2.0)
    assert list(found.total.lacks.values()) == [1]


@pytest.mark.parametrize(
    ("usd", "prices", "money"),
    [
        (None, Prices(ruler_prompt=2.0, ruler_completion=8.0), 6.0),
        (0.5, Prices(ruler_prompt=2.0, ruler_completion=8.0), 6.0),  # what is set comes first
        (0.5, Prices(ruler_prompt=2.0), 0.5),
        (0.5, Prices(), 0.5),
        (None, Prices(ruler_completion=8.0), None),
    ],
)
def test_a_judge_costs_its_tokens_or_what_litellm_has_reported(
    usd: float | None, prices: Prices, money: float | None
) -> None:
    graded = GradedWindow(ONE, START, "openai/o3", 1_000_000, 500_000, usd)

    found = ledger(structs.replace(NONE, gradings=[graded]), prices)

    assert found.total.money == (None if money is None else pytest.approx(money))
    assert bool(found.total.lacks) == (money is None)
    assert [(one.window, one.money) for one in found.windows] == [(ONE, found.total.money)]


@pytest.mark.parametrize("prices", [Prices(), Prices(ruler_prompt=2.0, ruler_completion=8.0)])
@pytest.mark.parametrize(("tokens", "known"), [(0, False), (1_000_000, True)])
def test_answers_of_a_judge_whose_tokens_nobody_has_counted_are_not_free(
    prices: Prices, tokens: int, known: bool
) -> None:
    graded = GradedWindow(ONE, START, "openai/o3", tokens, 0, 2.0 * known, uncounted=4)

    total = ledger(structs.replace(NONE, gradings=[graded]), prices).total

    assert total.money == (2.0 if known else None)
    assert total.lacks == {"answers of the judge whose tokens were not counted": 4}


@pytest.mark.parametrize(
    ("fields", "prices", "money", "lacks"),
    [
        ({}, Prices(wandb_prompt=0.05, wandb_completion=0.22), 0.32, 0),
        ({"without_prompt": 10}, Prices(wandb_prompt=0.05, wandb_completion=0.22), 0.22, 10),
        ({"without_prompt": 4}, Prices(wandb_prompt=0.05, wandb_completion=0.22), 0.32, 4),
        ({}, Prices(wandb_completion=0.22), 0.22, 10),
        ({}, Prices(), None, 20),
        ({"backend": "local"}, Prices(wandb_prompt=0.05, wandb_completion=0.22), None, 10),
        ({"answers": 0, "questions": 5}, Prices(wandb_prompt=1), None, 1),
    ],
)
def test_answers_at_wandb_cost_their_tokens(
    fields: dict[str, Any], prices: Prices, money: float | None, lacks: int
) -> None:
    found = ledger(structs.replace(NONE, screens=[answers(step=1, **fields)]), prices).total

    assert found.money == (None if money is None else pytest.approx(money))
    assert sum(found.lacks.values()) == lacks


def test_a_step_has_its_runs_and_its_screen_and_is_divided_by_trajectories() -> None:
    records = structs.replace(
        NONE,
        runs=[run(step_id=1), run(1, step_id=1), run(2, step_id=2)],
        screens=[answers(step=1)],
        gradings=[GradedWindow(ONE, START, "openai/o3", 1, 1, 0.25)],
        steps=[
            StepTook(1, 1, "committed", [ONE, TWO], {ONE: 12, TWO: 4}),
            StepTook(2, 2, "failed", [TWO], None),
        ],
    )
    prices = Prices(gpu_hour=4.0, wandb_prompt=1.0, wandb_completion=2.0)

    found = ledger(records, prices)

    assert [one.total.money for one in found.steps] == pytest.approx([8.0, 2.0])
    assert found.steps[0].windows == pytest.approx({ONE: 6.0, TWO: 2.0})
    assert {one.window: one.money for one in found.windows} == pytest.approx({ONE: 6.25, TWO: 4.0})
    assert sum(one.money or 0 for one in found.windows) == pytest.approx(found.total.money)


def test_a_step_whose_trajectories_are_no_longer_listed_is_not_divided() -> None:
    took = StepTook(1, 1, "committed", [ONE, TWO], None)
    found = ledger(structs.replace(NONE, runs=[run()], steps=[took]), Prices(gpu_hour=4.0))

    assert found.steps[0].windows is None
    assert [(one.money, list(one.lacks.values())) for one in found.windows] == [(None, [1])] * 2


def test_a_promotion_costs_all_that_was_spent_on_learning_since_the_last_one() -> None:
    records = structs.replace(
        NONE,
        runs=[run(), run(2), run(4, step_id=2), run(6, step_id=3)],
        answers=[answers()],
        promotions=[Promoted(1, START + HOUR, None), Promoted(3, START + 5 * HOUR, 0.04)],
    )
    prices = Prices(gpu_hour=4.0, wandb_prompt=1.0, wandb_completion=1.0)

    found = ledger(records, prices).promotions

    assert [(one.step, one.total.money) for one in found] == [
        (1, pytest.approx(2.0)),
        (3, pytest.approx(4.0)),
        (None, pytest.approx(2.0)),
    ]
    assert [one.for_a_hundredth for one in found] == [None, pytest.approx(1.0), None]


def test_the_first_promotion_since_a_moment_has_the_price_of_all_learning_since_the_last() -> None:
    records = structs.replace(
        NONE,
        runs=[run(hours, step_id=hours, seconds=3600.0) for hours in range(1, 42)],
        promotions=[Promoted(1, START + HOUR, 0.1), Promoted(40, START + 40 * HOUR, 0.1)],
        since=START + 38 * HOUR,
    )

    found = ledger(records, Prices(gpu_hour=4.0))

    assert [(one.step, one.total.money) for one in found.promotions] == [
        (40, pytest.approx(39 * 4.0)),
        (None, pytest.approx(4.0)),
    ]
    assert (found.total.money, found.total.count) == (pytest.approx(16.0), 4)


@pytest.mark.parametrize("gain", [0.0, -0.01])
def test_what_gained_nothing_has_no_price_for_a_gain(gain: float) -> None:
    promoted = [Promoted(1, START + HOUR, gain)]
    records = structs.replace(NONE, runs=[run()], promotions=promoted)

    assert ledger(records, Prices(gpu_hour=4.0)).promotions[0].for_a_hundredth is None


@pytest.mark.parametrize(
    ("amounts", "hours"),
    [
        ([(0, 1.0)], None),
        ([(0, 2.0)], 24),
        ([(-30, 5.0), (0, 1.0)], None),  # it was longer ago than that
        ([(-20, 1.0), (-10, 1.0), (-1, 1.0)], 14),
        ([(-20, 1.0), (-10, None), (-1, 5.0)], 23),
        ([(-1, 5.0), (-20, 1.0)], 23),  # in any order
        ([], None),
    ],
)
def test_when_less_than_a_budget_is_spent_again(
    amounts: list[tuple[float, float | None]], hours: float | None
) -> None:
    found = within_again([spent(*one) for one in amounts], 2.0, 24 * HOUR, START)

    assert found == (None if hours is None else START + hours * HOUR)


def test_spendings_are_in_the_order_of_time() -> None:
    records = structs.replace(
        NONE, runs=[run(3)], gradings=[GradedWindow(ONE, START, "openai/o3", 1, 1, 0.25)]
    )

    assert [one.kind for one in spendings(records, Prices())] == ["judge", "training"]
