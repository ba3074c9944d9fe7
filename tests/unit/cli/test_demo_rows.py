"""A demo's rows fit the eighty columns that a terminal has."""

from __future__ import annotations

import pytest

from babylon_tasks.cli import babylon_demo, demo_rows
from babylon_tasks.cli.output import cell
from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.decisions import Decision
from babylon_tasks.sandbox.agents import AnswerCounts
from babylon_tasks.sandbox.babylon_world.results import ModelShares, PlayedHour, short_of_the_top
from babylon_tasks.states import WindowState

DONE = WindowProgress(
    window="2026-01-31T09:00",
    state=WindowState.SKIPPED,
    reason="too_few_comparable_answers",
    agents=16,
    trajectories=128,
    scored=128,
    profit_mean=-1234.5678,
    right_share=0.5,
    rejected={},
    step=None,
    step_state=None,
    gradient_steps=0,
    trainable_tokens=0,
    loss=-0.0001234,
    decision=Decision.HOLD,
    decision_reason="worse",
    evaluation=0.51234567,
    serving_step=40,
)


@pytest.mark.parametrize(
    "columns", [demo_rows.COLUMNS, babylon_demo._COLUMNS], ids=["one", "other"]
)
def test_the_columns_fit(columns: dict[str, int]) -> None:
    assert sum(columns.values()) + 2 * (len(columns) - 1) <= 80
    assert all(len(name) <= width for name, width in columns.items())


def test_a_row_fits_whatever_is_in_it() -> None:
    row = demo_rows.row(DONE, AnswerCounts(n=128, valid=128, right=64))
    line = demo_rows.line(cell(value) for value in row)
    assert len(line) <= 80
    assert line.endswith("@40 (held)")
    assert "too_few_co.." in line


def test_a_row_of_babylons_likeness_fits_whatever_was_concluded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = babylon_demo._Lines()
    for conclusion in (*Conclusion, None):
        rows.window(hour(0.9, conclusion))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(Conclusion)
    assert max(map(len, lines)) <= 80


def test_a_demo_that_ends_short_of_the_largest_share_says_what_was_reached() -> None:
    rising = [hour(share, "rise") for share in (0.05, 0.5, 0.2)]
    assert short_of_the_top(rising, 4) == (
        "after hour 3, 20% of the agents are ours, at most 50% were; the end is 4 hours in a row "
        "at 90%"
    )
    assert short_of_the_top([*rising, *[hour(0.9, "keep")] * 4], 4) is None


def hour(share: float, concluded: str | None) -> PlayedHour:
    """An hour with the widest figures that there are."""
    one = ModelShares("babylon@40", 100, 1.0, 1.0, 1.0)
    return PlayedHour(DONE.window, share, 140, 140, "rollback", concluded, one, one)
