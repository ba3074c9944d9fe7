"""When a run got worse: the window, what served then, and what was decided after it."""

from __future__ import annotations

import random

from msgspec import structs
from reported_run import hour, run_rows

from babylon_tasks.cli.report_worse import when_it_got_worse
from babylon_tasks.run_history import run_history


def said(shares: list[float | None]) -> list[str]:
    rows = run_rows(len(shares))
    windows = [
        structs.replace(one, right_share=share)
        for one, share in zip(rows.windows, shares, strict=True)
    ]
    history = run_history(structs.replace(rows, windows=windows))
    assert history is not None
    return when_it_got_worse(history, windows)


def around(mean: float, number: int) -> list[float | None]:
    return [mean + (-1) ** place * 0.05 for place in range(number)]


def test_the_window_of_the_fall_is_named_with_what_served_and_what_was_done() -> None:
    found = said([*around(0.9, 30), *around(0.1, 6), *around(0.5, 24)])

    assert found[0] == (
        f"When did it get worse? At {hour(30)}: right bets 20.0% from there on, 90.0% before "
        "(up to 8 windows each)."
    )
    assert found[1].startswith(f"Step 24 served then, since {hour(29)}. What was done: ")
    assert f"refused step 25 at {hour(31)}; promoted step 26 at {hour(32)}" in found[1]
    assert found[1].endswith(" more decisions are below.")


def test_windows_without_outcomes_do_not_count_as_wrong() -> None:
    assert f"At {hour(31)}:" in said([*around(0.9, 20), *[None] * 11, *around(0.2, 9)])[0]


def test_what_chance_makes_is_no_fall() -> None:
    alarms = 0
    for seed in range(100):
        drawn = random.Random(seed)
        shares: list[float | None] = [0.6 + drawn.gauss(0, 0.1) for _ in range(60)]
        alarms += "No fall" not in said(shares)[0]
    assert alarms <= 2


def test_of_few_windows_nothing_is_said() -> None:
    for shares in ([0.5], [None] * 20):
        assert "Not known yet: too few windows with a known outcome" in said(shares)[0]
    assert "No fall of the right bets beyond doubt in 8 windows." in said([0.5] * 8)[0]
