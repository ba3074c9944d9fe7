"""A demo's rows fit the eighty columns that a terminal has."""

from __future__ import annotations

import pytest

from babylon_tasks.cli import babylon_demo, demo_rows
from babylon_tasks.cli.output import cell
from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.decisions import Decision
from babylon_tasks.sandbox.agents import AnswerCounts
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
