"""What a run's rows become: points, curves and marks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs
from reported_run import decision, hour, run_rows, screen

from babylon_tasks.decisions import Decision
from babylon_tasks.run_history import MOST_POINTS, OTHERS, RunHistory, RunMarkKind, run_history
from babylon_tasks.run_records import RunCommit, RunConclusion, RunRejections, RunRows

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def made(rows: RunRows) -> RunHistory:
    found = run_history(rows)
    assert found is not None
    return found


def test_without_a_window_there_is_no_history() -> None:
    assert run_history(run_rows(0)) is None


def test_each_window_is_a_point_while_they_are_few() -> None:
    rows = run_rows(60)

    found = made(rows)

    assert (found.windows, found.together, len(found.points)) == (60, 1, 60)
    assert (found.first, found.last) == (hour(0), hour(59))
    assert [one.right for one in found.points] == [one.right_share for one in rows.windows]


def test_ten_thousand_windows_are_no_more_points_than_a_screen_has() -> None:
    found = made(run_rows(10_000))

    assert found.together == 21
    assert len(found.points) <= MOST_POINTS
    assert len(found.held_out) <= MOST_POINTS
    assert len(found.screens) <= MOST_POINTS
    assert sum(sum(one.rejected) for one in found.points) == sum(found.rejected.values())


def test_rewards_of_windows_together_are_those_of_all_their_trajectories() -> None:
    few = run_rows(2).windows
    low = structs.replace(few[0], scored=30, reward_mean=0.2, reward_std=0.0)
    high = structs.replace(few[1], scored=10, reward_mean=0.6, reward_std=0.0)
    many = [low, high, *[structs.replace(low, reward_mean=None)] * (2 * MOST_POINTS - 2)]

    (first, *others) = made(RunRows(many, [], [], [], [], [])).points

    assert first.reward is not None
    assert first.reward.mean == pytest.approx(0.3)
    # 30 at 0.2 and 10 at 0.6
    assert first.reward.deviation == pytest.approx((0.75 * 0.1**2 + 0.25 * 0.3**2) ** 0.5)
    assert all(one.reward is None for one in others)


def test_the_rarest_reasons_are_counted_together() -> None:
    rejections = [RunRejections(hour(0), f"reason-{n}", 10 - n) for n in range(8)]

    found = made(structs.replace(run_rows(1), rejections=rejections))

    assert found.reasons == (*(f"reason-{n}" for n in range(5)), OTHERS)
    assert found.points[0].rejected == (10, 9, 8, 7, 6, 5 + 4 + 3)
    assert len(found.rejected) == 8


def test_a_decision_belongs_to_the_newest_window_in_training_then() -> None:
    commits = [RunCommit(1, hour(2), NOON), RunCommit(2, hour(5), NOON + 2 * MINUTE)]
    decisions = [
        decision(Decision.PROMOTE, 0, 1, NOON + MINUTE, value=0.5),
        decision(Decision.HOLD, 1, 2, NOON + 3 * MINUTE, value=0.4),
        decision(Decision.ROLLBACK, 1, 0, NOON + 4 * MINUTE),
    ]
    screens = [screen(2, NOON + 3 * MINUTE, valid=0.9, right=0.5)]
    concluded = [RunConclusion(1, hour(4), "rollback", "worse", "rolled back to 0")]
    rows = RunRows(run_rows(8).windows, [], commits, decisions, screens, concluded)

    found = made(rows)

    assert [(one.window, one.kind, one.step) for one in found.marks] == [
        (hour(2), RunMarkKind.PROMOTED, 1),
        (hour(4), RunMarkKind.COMPARED, None),
        (hour(5), RunMarkKind.REFUSED, 2),
        (hour(5), RunMarkKind.ROLLED_BACK, 1),
    ]
    assert found.marks[1].why == "rollback: worse; rolled back to 0"
    assert [(one.window, one.value) for one in found.held_out] == [(hour(2), 0.5), (hour(5), 0.4)]
    assert [one.window for one in found.screens] == [hour(5)]


def test_what_was_decided_before_the_first_window_that_is_shown_is_left_out() -> None:
    commits = [RunCommit(1, hour(2), NOON)]
    decisions = [decision(Decision.PROMOTE, 0, 1, NOON, value=0.5)]
    rows = RunRows(run_rows(8).windows[4:], [], commits, decisions, [], [])

    found = made(rows)

    assert (found.marks, found.held_out) == ([], [])


def test_a_decision_without_any_step_before_it_is_a_mark_at_the_beginning() -> None:
    decisions = [decision(Decision.HOLD, 0, 1, NOON, why="too few groups")]
    rows = RunRows(run_rows(3).windows, [], [], decisions, [], [])

    (mark,) = made(rows).marks

    assert (mark.window, mark.why) == ("", "too few groups")
