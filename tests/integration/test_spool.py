"""COPY pairs values with columns by position; here, the names of both are the same ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from factories import WINDOW, fill_window
from msgspec import Struct
from psycopg import errors

from babylon_tasks.db import spool as spool_module
from babylon_tasks.db.scoring import ScoreRow
from babylon_tasks.db.session import Connection
from babylon_tasks.db.spool import Spool
from babylon_tasks.db.sql import copy_statement
from babylon_tasks.reasons import Reason, Stage
from babylon_tasks.records import Rejection

REJECTIONS = "scoring.copy_rejections"
AWKWARD = ["tab\tnewline\nreturn\r", "\\N", "\\", "\\.", "é 漢 🎲", "", "null", '{"a": "b"}']


class Reordered(Struct):
    """The fields of a Rejection in another order."""

    detail: str | None
    reason: Reason
    stage: Stage
    trajectory_id: str


class Misspelt(Struct):
    trajectory: str


def stored(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT trajectory_id, window_id, reward_version, stage, reason, detail"
        " FROM training.rejections ORDER BY id"
    ).fetchall()


@pytest.mark.contract(None)
def test_values_reach_the_columns_of_their_names_in_any_order(connection: Connection) -> None:
    with Spool(Reordered, window_id=WINDOW, reward_version=3) as spool:
        spool.add(Reordered("why", Reason.BAD_SHAPE, Stage.DECODE, "t-1"))
        spool.copy_into(connection, REJECTIONS)
    with Spool(Rejection, reward_version=3, window_id=WINDOW) as spool:
        spool.add(Rejection("t-2", Stage.DECODE, Reason.BAD_SHAPE, "why"))
        spool.copy_into(connection, REJECTIONS)
    assert stored(connection) == [
        (name, WINDOW, 3, "decode", "bad_shape", "why") for name in ("t-1", "t-2")
    ]


@pytest.mark.contract(None)
def test_a_field_that_no_column_has_is_refused(connection: Connection) -> None:
    with Spool(Misspelt, reward_version=1) as spool:
        spool.add(Misspelt("t-1"))
        with pytest.raises(errors.UndefinedColumn, match='column "trajectory"'):
            spool.copy_into(connection, REJECTIONS)


@pytest.mark.contract(None)
@pytest.mark.parametrize("in_memory", [1, 1000], ids=["from a file", "from memory"])
def test_text_arrives_as_it_is_and_none_as_null(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(spool_module, "_ROWS", in_memory)
    given = [*AWKWARD, None]
    with Spool(Rejection, reward_version=1, window_id=WINDOW) as spool:
        for number, detail in enumerate(given):
            spool.add(Rejection(f"t-{number}", Stage.SCORE, Reason.NO_EVIDENCE, detail))
        spool.copy_into(connection, REJECTIONS)
    assert [row[-1] for row in stored(connection)] == given


@pytest.mark.contract(None)
def test_a_reward_keeps_all_its_digits(connection: Connection) -> None:
    with Spool(ScoreRow, reward_version=1, window_id=WINDOW) as spool:
        spool.add(
            ScoreRow(
                trajectory_id="t-1",
                agent_id="agent-1",
                content_hash="hash",
                group_key="",
                reward=0.1 + 0.2,
                components='{"profit": -1e-07}',
                scorer="default",
                scorer_version="2",
            )
        )
        spool.copy_into(connection, "scoring.copy_scores")
    row = connection.execute("SELECT reward, components FROM training.scores").fetchone()
    assert row == (0.1 + 0.2, {"profit": -1e-07})


@pytest.mark.contract(None)
def test_more_rows_than_memory_holds_are_read_and_written_in_their_order(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_ROWS", 1000)
    with Spool(Rejection, reward_version=1, window_id=WINDOW) as spool:
        for number in range(2500):
            spool.add(Rejection(f"t-{number}", Stage.DECODE, Reason.BAD_SHAPE, "x" * 2000))
        assert [row.trajectory_id for row in spool] == [f"t-{number}" for number in range(2500)]
        spool.copy_into(connection, REJECTIONS)
    assert [row[0] for row in stored(connection)] == [f"t-{number}" for number in range(2500)]


def test_a_window_is_read_by_names_in_any_order(connection: Connection) -> None:
    ids = fill_window(connection, agents=2)
    types = {"is_evaluation": "bool", "agent_id": "text", "trajectory_id": "text"}
    parameters = {
        "window": WINDOW,
        "start": datetime(2026, 1, 31, 9),
        "end": datetime(2026, 1, 31, 10),
        "largest": 1_000_000,
        "used": False,
        "ours": [],
    }
    statement = copy_statement("trajectories.copy_window", types)
    with connection.cursor() as cursor, cursor.copy(statement, parameters) as copy:
        copy.set_types(list(types.values()))
        rows = sorted(copy.rows(), key=lambda row: str(row[1]))
    assert rows == [(False, "agent-1", ids[0]), (False, "agent-2", ids[1])]
