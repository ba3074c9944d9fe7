"""Which of Babylon's rows belong to an hour, and which of them came to it late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from factories import insert, insert_trajectories, trajectory
from one_moment import lineage, window
from scored_windows import column, hour

from babylon_tasks.db import open_and_seal, windows
from babylon_tasks.db.late_rows import reject_late
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.settings import Settings

HERE, THERE = hour(9), hour(10)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(grace_seconds=60, max_open_seconds=10**9, lookback_hours=1)


def row(window_id: str | None, starts: str, agent: str = "agent") -> dict[str, Any]:
    at = datetime.fromisoformat(f"{HERE[:11]}{starts}")
    return trajectory(window_id, agent) | {"startTime": at}


def written(connection: Connection, ago: str) -> None:
    """All rows of the trajectories so many seconds ago."""
    moment = "(now() AT TIME ZONE 'UTC') - make_interval(secs => %s)"
    connection.execute(f'UPDATE trajectories SET "createdAt" = {moment}', [float(ago)])  # type: ignore[arg-type]  # noqa: S608


@pytest.mark.parametrize(
    ("window_id", "starts", "belongs"),
    [
        (HERE, "08:30:00", True),
        (THERE, "09:30:00", False),
        (None, "08:59:59.999", False),
        (None, "09:00:00", True),
        (None, "09:59:59.999", True),
        (None, "10:00:00", False),
    ],
)
def test_a_row_belongs_to_the_hour_that_it_names_or_else_to_that_in_which_it_began(
    connection: Connection, settings: Settings, window_id: str | None, starts: str, belongs: bool
) -> None:
    made = insert_trajectories(connection, [row(window_id, starts)])
    read = [
        one.trajectory_id for batch in stream_window(connection, HERE, settings) for one in batch
    ]
    assert read == made * belongs

    name = window(connection, 9, "open")
    written(connection, "0")
    assert open_and_seal.seal_due(connection, settings, limit=9, actor="test") == (
        [] if belongs else [name]
    )
    written(connection, "61")
    open_and_seal.seal_due(connection, settings, limit=9, actor="test")
    found = windows.get(connection, name)
    assert (found.state, found.trajectories, found.agents) == ("sealed", belongs, belongs)

    connection.execute("UPDATE training.windows SET state = 'scored', scored_at = now()")
    assert reject_late(connection, settings, limit=9, actor="test") == belongs
    late = column(connection, "SELECT trajectory_id FROM training.rejections")
    assert late == made * belongs


@pytest.mark.parametrize(("ago", "sealed"), [("59.99", False), ("60.01", True)])
def test_an_hour_is_quiet_when_the_grace_has_passed_since_its_last_row(
    connection: Connection, settings: Settings, ago: str, sealed: bool
) -> None:
    insert_trajectories(connection, [row(HERE, "09:00:00"), row(None, "09:30:00", "another")])
    name = window(connection, 9, "open")
    with connection.transaction():  # in which now() stands still
        written(connection, ago)
        found = open_and_seal.seal_due(connection, settings, limit=9, actor="test")

    assert found == [name] * sealed


def test_a_sealed_hour_has_counted_its_trajectories_and_its_agents(
    connection: Connection, settings: Settings
) -> None:
    rows = [row(HERE, "09:00:00"), row(HERE, "09:00:00"), row(None, "09:30:00", "another")]
    insert_trajectories(connection, rows)
    written(connection, "61")
    name = window(connection, 9, "open")

    open_and_seal.seal_due(connection, settings, limit=9, actor="test")

    found = windows.get(connection, name)
    assert (found.trajectories, found.agents) == (3, 2)


def test_late_rows_of_several_hours_are_counted_together(
    connection: Connection, settings: Settings
) -> None:
    rows = [row(HERE, "09:00:00"), row(HERE, "09:00:00"), row(THERE, "10:00:00")]
    insert_trajectories(connection, [*rows, row(hour(11), "11:00:00")])
    for number in (9, 10):
        window(connection, number, "trained", but="scored_at = now()")
    window(connection, 11, "open")

    assert reject_late(connection, settings, limit=9, actor="test") == 3
    assert reject_late(connection, settings, limit=9, actor="test") == 0


SCORE = {
    "agent_id": "agent",
    "group_key": "",
    "scorer": "default",
    "scorer_version": "1",
    "reward": 0.5,
    "components": "{}",
}
REJECTION = {"stage": "score", "reason": "no_evidence"}
USE = {"lineage": "another", "use": "trained"}


@pytest.mark.parametrize(
    ("table", "columns", "late"),
    [
        ("scores", SCORE, False),
        ("scores", SCORE | {"reward_version": 1}, True),
        ("rejections", REJECTION, False),
        ("rejections", REJECTION | {"reward_version": 1}, True),
        ("consumption", USE, False),
        ("consumption", USE | {"reward_version": 1}, False),
        ("consumption", USE | {"window_id": THERE}, True),
        ("scores", SCORE | {"trajectory_id": "another"}, True),
        ("rejections", REJECTION | {"trajectory_id": "another"}, True),
        ("consumption", USE | {"trajectory_id": "another"}, True),
    ],
)
def test_late_is_what_the_newest_rewards_do_not_know_and_no_step_has_used(
    connection: Connection, settings: Settings, table: str, columns: dict[str, Any], late: bool
) -> None:
    (one,) = insert_trajectories(connection, [row(HERE, "09:00:00")])
    lineage(connection, "another")
    window(connection, 9, "trained", but="scored_at = now(), reward_version = 2")
    window(connection, 10, "trained")
    about = {"trajectory_id": one, "window_id": HERE, "reward_version": 2}
    insert(connection, f"training.{table}", [about | columns])

    assert reject_late(connection, settings, limit=9, actor="test") == late
    reasons = "SELECT reward_version, stage, reason FROM training.rejections WHERE stage = 'seal'"
    assert connection.execute(reasons).fetchall() == [(2, "seal", "late")] * late
