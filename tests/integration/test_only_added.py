"""What was decided, and why, stays as it was written: the database refuses everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from compared_hours import lineage
from factories import insert
from scored_windows import column, hour

from babylon_tasks.db import screens
from babylon_tasks.db.migrate import apply, migrations
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.pipeline.prune_rows import prune_rows
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")

ROWS: dict[str, dict[str, Any]] = {
    "promotions": {"decision": "hold", "from_step": 0, "to_step": 1, "reason": "r"}
    | {"evidence": "{}", "actor": "test"},
    "arms": {"from_window": hour(1), "salt": "s", "control_share": 0.1, "control_step": 0}
    | {"examinee_share": 0},
    "evaluations": {"step": 1, "set_hash": "x", "windows": [], "groups": 1, "value": 0.5}
    | {"coverage": 1, "entropy": 1, "group_values": "[]"},
    "events": {"kind": "held", "actor": "test"},
}
SCREEN = {"step": 1, "serving_step": 0, "against": "serving", "set_hash": "x", "questions": 2}
SCREEN |= {"terms": "{}", "actor": "test"}


def recorded(connection: Connection) -> None:
    """A row of each kind."""
    lineage(connection)
    for table, row in ROWS.items():
        insert(connection, f"training.{table}", [{"lineage": "babylon"} | row])


def screened(connection: Connection, *, days_ago: float) -> int:
    """A screen that began so long ago, and two answers."""
    began = f"now() - interval '{days_ago} days'"
    (screen,) = column(connection, f"SELECT ({began})::text")
    insert(connection, "training.screens", [{"lineage": "babylon", "began_at": screen} | SCREEN])
    (made,) = column(connection, "SELECT max(id) FROM training.screens")
    assert isinstance(made, int)
    answer = {"screen_id": made, "place": 0, "window_id": hour(1), "trajectory_id": "t"}
    answer |= {"call_number": 0, "prompt_hash": b"p", "answer": "Yes", "answer_hash": b"a"}
    answer |= {"decides": "yes", "valid": True, "length": 3, "repeats": False}
    insert(
        connection,
        "training.screen_samples",
        [answer | {"candidate": candidate} for candidate in (True, False)],
    )
    return made


@pytest.mark.parametrize("table", ROWS)
@pytest.mark.parametrize(
    "change", ["UPDATE training.{0} SET lineage = 'x'", "DELETE FROM training.{0}"]
)
def test_decisions_arms_evaluations_and_events_are_only_added(
    connection: Connection, table: str, change: str
) -> None:
    recorded(connection)

    with pytest.raises(psycopg.errors.RaiseException, match=f"training.{table} are only added"):
        connection.execute(change.format(table))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE training.screens SET questions = 1",
        "UPDATE training.screens SET result = 'passed', reason = '', figures = '{}',"
        " ended_at = now(), terms = '[]'",
        "DELETE FROM training.screens",
    ],
)
def test_an_open_screen_is_changed_by_its_end_only(connection: Connection, change: str) -> None:
    lineage(connection)
    screened(connection, days_ago=0)

    with pytest.raises(psycopg.errors.RaiseException, match="only added and ended once"):
        connection.execute(change)  # type: ignore[arg-type]


def test_a_screen_ends_once(connection: Connection) -> None:
    lineage(connection)
    screen = screened(connection, days_ago=0)
    ended = screens.end(connection, screen, result="refused", reason="collapsed", figures={})

    again = screens.end(connection, screen, result="passed", reason="never mind", figures={})
    assert again == ended
    assert again.result == "refused"
    with pytest.raises(psycopg.errors.RaiseException, match=r"training\.screens are only added"):
        connection.execute("UPDATE training.screens SET result = 'passed'")


@pytest.mark.parametrize(
    ("days_ago", "change"),
    [
        (0, "DELETE FROM training.screen_samples"),
        (31, "DELETE FROM training.screen_samples WHERE candidate"),
        (31, "UPDATE training.screen_samples SET valid = false"),
    ],
    ids=["young", "a part", "changed"],
)
def test_a_screens_answers_stay_as_they_were_given(
    connection: Connection, days_ago: float, change: str
) -> None:
    lineage(connection)
    screened(connection, days_ago=days_ago)

    with pytest.raises(psycopg.errors.RaiseException, match=r"training\.screen_samples are only"):
        connection.execute(change)  # type: ignore[arg-type]
    assert column(connection, "SELECT count(*) FROM training.screen_samples WHERE valid") == [2]


def test_old_answers_go_with_old_rows_and_their_screen_stays(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    lineage(connection)
    old = screened(connection, days_ago=31)
    screens.end(connection, old, result="refused", reason="collapsed", figures={})
    young = screened(connection, days_ago=0)

    # The settings that keep rows for the shortest time.
    shortest = {"lookback_hours": 1, "max_staleness_hours": 1, "outcome_wait_hours": 0}
    found = prune_rows(make_settings(keep_rows_days=0.001, **shortest), actor="test")

    assert found.samples == 2
    assert [len(screens.samples(connection, one)) for one in (old, young)] == [0, 2]


def test_what_an_older_version_recorded_is_kept_too(
    make_settings: Callable[..., Settings], babylon_database_url: str
) -> None:
    settings = make_settings(DATABASE_URL=babylon_database_url)
    names = [one.name for one in migrations()]
    newest = names.index("0025_only_added")
    apply(settings, known=migrations()[:newest])
    with connect(settings) as connection:
        recorded(connection)
        screen = screened(connection, days_ago=0)
        connection.execute("UPDATE training.promotions SET reason = 'another'")

        assert apply(settings) == names[newest:]

        with pytest.raises(psycopg.errors.RaiseException, match=r"training\.promotions are only"):
            connection.execute("UPDATE training.promotions SET reason = 'and another'")
        ended = screens.end(connection, screen, result="passed", reason="", figures={})
    assert ended.ended_at is not None
