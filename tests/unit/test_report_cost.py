"""The report's words and tables about costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from babylon_tasks.cli.report_cost import costs
from babylon_tasks.cli.report_links import Links
from babylon_tasks.cost.ledger import ledger
from babylon_tasks.cost.records import (
    CostRecords,
    GradedWindow,
    MeasuredRun,
    Prices,
    Promoted,
    StepTook,
)
from babylon_tasks.cost.words import dollars, in_words

pytestmark = pytest.mark.unit
START = datetime(2026, 1, 31, 9, tzinfo=UTC)
WINDOW = "2026-01-31T08:00"
NONE = CostRecords([], [], [], [], [], [])
SPENT = structs.replace(
    NONE,
    runs=[
        MeasuredRun(1, 1, "local", START, 1800.0),
        MeasuredRun(2, 2, "local", START + timedelta(hours=2), None),
    ],
    gradings=[GradedWindow(WINDOW, START, "<b>judge</b>", 1, 1, None)],
    steps=[StepTook(1, 1, "committed", [WINDOW], None), StepTook(2, 2, "running", [WINDOW], None)],
    promotions=[Promoted(1, START + timedelta(hours=1), 0.02)],
)
LINKS = Links(frozenset({WINDOW}), frozenset({1}))


def test_it_is_told_in_a_line() -> None:
    found = in_words(ledger(SPENT, Prices(gpu_hour=4.0)))

    assert found is not None
    assert found.startswith("cost: $2.00 (training $2.00, judge not known)")
    assert "; step 1 gained 0.01 of the objective for $1.00" in found
    assert "not in it: " in found
    assert in_words(ledger(NONE, Prices())) is None


def test_steps_and_windows_are_links_and_what_others_wrote_is_text() -> None:
    page = "\n".join(costs(ledger(SPENT, Prices(gpu_hour=4.0)), LINKS))

    assert '<a href="#step-1">step 1</a>' in page
    assert f'<a href="#window-{WINDOW}">{WINDOW}</a> $2.00' in page
    assert "none since" in page
    assert "<b>" not in page
    assert "Nothing is on record" in costs(ledger(NONE, Prices()), LINKS)[0]


@pytest.mark.parametrize(
    ("money", "words"),
    [(None, "not known"), (0.0, "$0.00"), (0.00123, "$0.0012"), (1234.5, "$1,234.50")],
)
def test_small_sums_have_the_digits_that_say_something(money: float | None, words: str) -> None:
    assert dollars(money) == words
