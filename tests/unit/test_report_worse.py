"""When a run got worse: the window, what served then, and what was decided after it."""

from __future__ import annotations

import random

from msgspec import structs
from reported_run import decision, hour, run_rows

from babylon_tasks.cli.report_worse import when_it_got_worse
from babylon_tasks.decisions import Decision
from babylon_tasks.run_history import run_history
from babylon_tasks.run_records import RunDecision


def said(shares: list[float | None], decided: list[RunDecision] | None = None) -> list[str]:
    rows = run_rows(len(shares))
    windows = [
        structs.replace(one, right_share=share)
        for one, share in zip(rows.windows, shares, strict=True)
    ]
    decisions = rows.decisions if decided is None else decided
    history = run_history(structs.replace(rows, windows=windows, decisions=decisions))
    assert history is not None
    return when_it_got_worse(history, windows)


def held(*places: int) -> list[RunDecision]:
    """Refusals of the checkpoints of these windows; the run has a comparison's end, too."""
    commits = {one.window: one for one in run_rows(20).commits}
    of_them = [commits[hour(place)] for place in places]
    return [decision(Decision.HOLD, 0, one.step, one.committed_at) for one in of_them]


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


def test_what_has_served_from_the_beginning_has_no_window_since_when() -> None:
    found = said([*around(0.9, 10), *around(0.2, 10)], held(2, 3))

    assert found[1].startswith("Step 0 served then, since the beginning. What was done: ")


def test_one_more_decision_is_said_in_the_singular() -> None:
    fall = [*around(0.9, 10), *around(0.2, 10)]

    assert said(fall, held(11, 12, 13))[1].endswith("; 1 more decision is below.")
    assert said(fall, held(11, 12, 13, 14))[1].endswith("; 2 more decisions are below.")


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
