"""What Babylon has done to a row since it was scored, row by row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import WINDOW, exact_call, step

from babylon_tasks.dataset.row_changes import RowChange, compare_with_score
from babylon_tasks.decode import content_hash
from babylon_tasks.records import RawTrajectory, Rejection, Trajectory

OTHER = "2026-01-31T10:00"


def row(answer: str = "YES", **columns: Any) -> RawTrajectory:
    text = json.dumps([step(0, [exact_call(answer)])])
    values = {
        "trajectory_id": "t",
        "agent_id": "a",
        "scenario_id": WINDOW,
        "steps_json": text,
        "steps_bytes": len(text),
        "final_pnl": 1.0,
        "is_evaluation": False,
        "is_training_data": True,
        "window_id": WINDOW,
    }
    return RawTrajectory(**values | columns)


SCORED = content_hash(row())


def test_what_is_as_it_was_scored_is_read() -> None:
    assert isinstance(compare_with_score("t", WINDOW, SCORED, row()), Trajectory)


@pytest.mark.parametrize(
    "now",
    [row("NO"), row(final_pnl=-40.0), row(scenario_id="s"), row(archetype="liar")],
    ids=["text", "figures", "scenario", "archetype"],
)
def test_what_says_something_else_than_it_was_scored_for_has_changed(now: RawTrajectory) -> None:
    assert compare_with_score("t", WINDOW, SCORED, now) == RowChange("t")


def test_a_row_that_can_no_longer_be_read_has_changed_too() -> None:
    assert compare_with_score("t", WINDOW, SCORED, row(steps_json="[{")) == RowChange("t")
    assert compare_with_score(
        "t", WINDOW, SCORED, row(steps_json=None, steps_bytes=9_000_000)
    ) == RowChange("t")


def test_a_score_that_kept_no_hash_counts_as_changed() -> None:
    assert compare_with_score("t", WINDOW, None, row()) == RowChange("t")


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (None, "deleted"),
        (row(is_evaluation=True), "evaluation_row"),
        (row(is_training_data=False), "not_training_data"),
        (row(already_used=True), "already_used"),
        (row(window_id=OTHER), "moved"),
        (row(window_id=None), "moved"),
        (row("NO", is_evaluation=True), "evaluation_row"),
        (row("NO", is_training_data=False), "not_training_data"),
        (row("NO", already_used=True), "already_used"),
        (row(window_id=OTHER, is_evaluation=True), "evaluation_row"),
        (row("NO", window_id=OTHER), "moved"),
    ],
)
def test_what_must_not_be_used_any_more_is_refused_by_name(
    now: RawTrajectory | None, reason: str
) -> None:
    found = compare_with_score("t", WINDOW, SCORED, now)

    assert isinstance(found, Rejection)
    assert (found.trajectory_id, found.stage, found.reason) == ("t", "dataset", reason)
