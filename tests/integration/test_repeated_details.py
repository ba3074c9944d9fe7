"""A rejection's detail that repeats is written once, and read for each trajectory."""

from __future__ import annotations

import pytest
from factories import WINDOW, insert_trajectories, step, trajectory
from moved_rows import moved_to
from one_moment import alter, lineage
from scored_windows import column, hour, scored_window
from scoring_runs import MakeSettings, run, seal

from babylon_tasks.db import consumption, lineages, old_rows, reports
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectory_history import trajectory_history
from babylon_tasks.reasons import Reason, Stage
from babylon_tasks.records import Rejection

pytestmark = pytest.mark.contract("today")
OLD, FOREIGN, OTHER = "its hour is too old", "1 of 1 calls; models: a", "1 of 1 calls; models: b"
REWARDS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def refuse(connection: Connection, ids: list[str], window: str = WINDOW) -> list[tuple[str, str]]:
    """Refuse each for one of three details; returns what each was refused for."""
    detail = (OLD, FOREIGN, OTHER)
    reason = (Reason.STALE, Reason.OTHER_POLICY, Reason.OTHER_POLICY)
    why = [
        Rejection(one, Stage.DATASET, reason[place % 3], detail[place % 3])
        for place, one in enumerate(ids)
    ]
    alter(connection, "lineages", "lease_until = NULL")
    lease = lineages.claim(connection, "babylon", "test", 60)
    assert lease is not None
    consumption.reject(connection, lease, window, 1, why)
    return [(one.reason, str(one.detail)) for one in why]


def said(connection: Connection, ids: list[str]) -> list[tuple[str, str | None]]:
    """What a stranger is told of each."""
    found = [trajectory_history(connection, one, lineage="babylon") for one in ids]
    return [(row.reason, row.detail) for one in found if one for row in one.rejections]


def written(connection: Connection) -> int:
    (count,) = column(connection, "SELECT count(detail) FROM training.rejections")
    return int(str(count))


def test_what_planning_says_of_many_is_written_once_and_read_of_each(
    connection: Connection,
) -> None:
    lineage(connection)
    ids = scored_window(connection, rewards=REWARDS)
    why = refuse(connection, ids[:5])
    assert written(connection) == 3
    assert said(connection, ids) == why

    # Once more, with one that is new: it alone is written, with its text.
    assert refuse(connection, ids)[:5] == why
    assert written(connection) == 4
    assert said(connection, ids) == [*why, (Reason.OTHER_POLICY, OTHER)]

    counted = reports.history(connection, WINDOW, lineage="babylon").rejections
    examples = {row.reason: (row.example, row.detail, row.count) for row in counted}
    assert examples == {Reason.STALE: (ids[0], OLD, 2), Reason.OTHER_POLICY: (ids[1], FOREIGN, 4)}


def test_another_window_version_or_lineage_says_nothing_of_a_trajectory(
    connection: Connection,
) -> None:
    lineage(connection)
    ids = scored_window(connection, rewards=REWARDS)
    refuse(connection, ids[:1])
    connection.execute(
        "INSERT INTO training.rejections (trajectory_id, window_id, reward_version, stage, reason,"
        " lineage) VALUES ('w', %s, 1, 'dataset', 'stale', 'babylon'),"
        " ('v', %s, 2, 'dataset', 'stale', 'babylon'), ('l', %s, 1, 'dataset', 'stale', NULL)",
        (hour(5), WINDOW, WINDOW),
    )
    assert said(connection, ["w", "v", "l"]) == [(Reason.STALE, None)] * 3


def test_what_scoring_says_of_many_is_written_once_and_read_of_each(
    make_settings: MakeSettings, connection: Connection
) -> None:
    rows = [
        trajectory(WINDOW, f"agent-{number}", [step(0, window=WINDOW)], final_pnl=None)
        for number in range(3)
    ]
    ids = insert_trajectories(connection, rows)
    seal(connection)
    assert run(make_settings()).claimed

    assert written(connection) == 1
    told = said(connection, ids)
    assert [reason for reason, _ in told] == [Reason.NO_EVIDENCE] * 3
    assert all(detail and "no known profit" in detail for _, detail in told)


def test_what_stays_when_an_hour_is_pruned_has_its_detail(connection: Connection) -> None:
    lineage(connection)
    ids = scored_window(connection, hour(1), REWARDS, state="skipped")
    why = refuse(connection, ids, hour(1))
    stays = [ids[3], ids[5]]
    moved_to(connection, stays, hour(2))

    assert old_rows.prune(connection, hour(1), 0, actor="test")

    assert said(connection, ids) == [why[3], why[5]]
