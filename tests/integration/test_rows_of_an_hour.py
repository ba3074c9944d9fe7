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


def seal_due(connection: Connection, settings: Settings, *, after: float = 0) -> list[str]:
    """Look at the open hours, so many seconds after the last look."""
    connection.execute(
        "UPDATE training.windows SET rows_changed_at = rows_changed_at - make_interval(secs => %s)",
        [after],
    )
    return open_and_seal.seal_due(connection, settings, limit=9, actor="test")


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
    name = window(connection, 9, "open")
    assert seal_due(connection, settings) == []
    made = insert_trajectories(connection, [row(window_id, starts)])
    read = [
        one.trajectory_id for batch in stream_window(connection, HERE, settings) for one in batch
    ]
    assert read == made * belongs

    assert seal_due(connection, settings, after=61) == ([] if belongs else [name])
    seal_due(connection, settings, after=61)
    found = windows.get(connection, name)
    assert (found.state, found.trajectories, found.agents) == ("sealed", belongs, belongs)

    connection.execute("UPDATE training.windows SET state = 'scored', scored_at = now()")
    assert reject_late(connection, settings, limit=9, actor="test") == belongs
    late = column(connection, "SELECT trajectory_id FROM training.rejections")
    assert late == made * belongs


@pytest.mark.parametrize(("after", "sealed"), [(59.99, False), (60, True)])
def test_an_hour_is_sealed_when_the_grace_has_passed_since_its_rows_last_changed(
    connection: Connection, settings: Settings, after: float, sealed: bool
) -> None:
    insert_trajectories(connection, [row(HERE, "09:00:00"), row(None, "09:30:00", "another")])
    name = window(connection, 9, "open")
    with connection.transaction():  # in which now() stands still
        assert seal_due(connection, settings) == []
        assert seal_due(connection, settings, after=after) == [name] * sealed


def test_an_import_in_parts_is_not_sealed_between_them_whatever_its_createdat(
    connection: Connection, settings: Settings
) -> None:
    """Restored, replicated late, or written by a transaction that began before: all look old."""
    name = window(connection, 9, "open")
    for part in range(3):
        agent = f"agent-{part}"
        insert_trajectories(
            connection, [row(HERE, "09:00:00", agent), row(None, "09:30:00", agent)]
        )
        assert seal_due(connection, settings, after=61) == []

    assert seal_due(connection, settings, after=61) == [name]

    found = windows.get(connection, name)
    assert (found.trajectories, found.agents) == (6, 3)


@pytest.mark.parametrize("change", ["moved here", "moved away", "one for another"])
def test_an_hour_whose_rows_are_moved_is_not_quiet(
    connection: Connection, settings: Settings, change: str
) -> None:
    here, there = insert_trajectories(
        connection, [row(HERE, "09:00:00"), row(THERE, "10:00:00", "another")]
    )
    name = window(connection, 9, "open")
    assert seal_due(connection, settings) == []
    move = 'UPDATE trajectories SET "windowId" = %s WHERE "trajectoryId" = %s'
    if change != "moved away":
        connection.execute(move, [HERE, there])
    if change != "moved here":
        connection.execute(move, [THERE, here])

    assert seal_due(connection, settings, after=61) == []
    assert seal_due(connection, settings, after=61) == [name]


def test_an_hour_whose_rows_never_rest_is_sealed_after_the_longest_time_open(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(grace_seconds=60, max_open_seconds=3600)
    name = window(connection, 9, "open", but="opened_at = now() - interval '1 hour'")
    insert_trajectories(connection, [row(HERE, "09:00:00")])

    assert seal_due(connection, settings) == [name]


def test_a_sealed_hour_has_counted_its_trajectories_and_its_agents(
    connection: Connection, settings: Settings
) -> None:
    rows = [row(HERE, "09:00:00"), row(HERE, "09:00:00"), row(None, "09:30:00", "another")]
    insert_trajectories(connection, rows)
    name = window(connection, 9, "open")
    seal_due(connection, settings)

    seal_due(connection, settings, after=61)

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
