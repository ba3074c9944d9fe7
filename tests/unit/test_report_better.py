"""Whether a run is better than yesterday: the answer, and what it rests on."""

from __future__ import annotations

import pytest
from msgspec import structs
from reported_run import hour, run_rows

from babylon_tasks.cli.report_better import better_than_yesterday, served_before
from babylon_tasks.run_history import RunHistory, run_history
from babylon_tasks.run_records import PairedValues, RunRows


def made(rows: RunRows) -> RunHistory:
    found = run_history(rows)
    assert found is not None
    return found


def answered(shares: list[float | None], pairs: PairedValues | None = None) -> list[str]:
    rows = run_rows(len(shares))
    windows = [
        structs.replace(one, right_share=share)
        for one, share in zip(rows.windows, shares, strict=True)
    ]
    history = made(structs.replace(rows, windows=windows))
    return better_than_yesterday(history, windows, served_before(history, windows), pairs)


def around(mean: float, number: int = 24) -> list[float | None]:
    """Shares that differ by window, with a standard error of a hundredth."""
    return [mean + (-1) ** place * 0.05 for place in range(number)]


def test_better_and_worse_are_said_with_their_error() -> None:
    better = answered([*around(0.5), *around(0.6)])
    assert better[0] == "Is it better than yesterday? Yes."
    assert better[1] == (
        "Right bets: 60.0% in the newest 24 windows, 50.0% in the 24 before: +10.0 ± 1.5 points."
    )
    assert answered([*around(0.6), *around(0.5)])[0].endswith("No, it is worse.")


def test_what_chance_may_have_done_is_no_answer() -> None:
    assert answered([*around(0.5), *around(0.51)])[0].endswith("No difference beyond doubt.")


def test_of_few_windows_the_halves_are_compared() -> None:
    assert "in the newest 5 windows, " in answered(around(0.5, 10))[1]
    assert answered([0.5])[0].endswith("There is a single window yet.")


def test_checkpoints_are_compared_on_the_same_groups() -> None:
    shares: list[float | None] = [None] * 60
    pairs = PairedValues(now=[0.5, 0.7, 0.9], before=[0.4, 0.5, 0.8])

    found = answered(shares, pairs)

    assert found[0] == "Is it better than yesterday? Yes."
    assert found[1] == (
        "Step 47 serves, step 28 did 24 windows ago: value +0.133 ± 0.033 on the same 3 held-out "
        "groups."
    )
    worse = PairedValues(now=pairs.before, before=pairs.now)
    assert answered([*around(0.5, 36), *around(0.6)], worse)[0].endswith("contradict each other.")


def test_what_was_not_measured_is_said() -> None:
    found = answered([None] * 60)
    assert found[0].endswith(
        "Nobody can say: no outcome is known, and no checkpoint was evaluated."
    )
    assert found[1].startswith("Step 47 serves, step 28 did 24 windows ago: they were never ")
    assert len(found) == 2


def test_what_served_before_is_that_of_the_day_before() -> None:
    rows = run_rows(60)
    history = made(rows)
    assert history.served[0].step == 0
    assert served_before(history, rows.windows) == 28
    assert [one.step for one in history.served if one.window <= hour(35)][-1] == 28
    assert served_before(made(structs.replace(rows, decisions=[])), rows.windows) is None


@pytest.mark.parametrize("windows", [2, 60])
def test_backlog_and_age_are_read_from_seals(windows: int) -> None:
    found = made(run_rows(windows)).points
    assert found[0].backlog == 1
    assert found[0].hours == 0.5
    if windows > 4:
        assert (found[3].hours, found[4].backlog) == (1.5, 2)
