"""What a recorder holds while it cannot write, and how it writes that: many in a transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from factories import WINDOW
from recordings import record

from babylon_tasks.db.session import Connection
from babylon_tasks.recorder import Recorder
from babylon_tasks.settings import Settings

PATIENCE = 60

pytestmark = pytest.mark.contract("today")


@contextmanager
def held(connection: Connection) -> Iterator[None]:
    """Nothing is written meanwhile: what is finished waits."""
    with connection.transaction():
        connection.execute("LOCK TABLE trajectories IN ACCESS EXCLUSIVE MODE")
        yield


def value(connection: Connection, query: str) -> int:
    (found,) = connection.execute(query).fetchone() or (0,)  # type: ignore[call-overload]
    return int(found)


def count(connection: Connection, table: str = "trajectories") -> int:
    return value(connection, f"SELECT count(*) FROM {table}")  # noqa: S608


def test_what_waits_is_written_many_trajectories_in_a_transaction(
    settings: Settings, connection: Connection
) -> None:
    with Recorder(settings) as recorder:
        with held(connection):
            record(recorder, 150)
        assert recorder.flush(PATIENCE)
        assert recorder.recorded == 150
    assert count(connection) == count(connection, "llm_call_logs") == 150
    transactions = value(connection, "SELECT count(DISTINCT xmin::text) FROM trajectories")
    assert transactions <= 3  # what came before the first attempt, a hundred, the others


def test_of_many_trajectories_a_refused_one_loses_itself_alone(
    settings: Settings, connection: Connection
) -> None:
    with Recorder(settings) as recorder:
        with held(connection):
            record(recorder, 17)
            recorder.start("agent-1", window=WINDOW, scenario_id="s" * 101).finish()
            record(recorder, 22)
        assert recorder.flush(PATIENCE)
        assert (recorder.recorded, recorder.failed, recorder.dropped) == (39, 1, 0)
    assert count(connection) == 39


def test_an_agent_whose_id_fits_into_no_index_loses_itself_alone(
    settings: Settings, connection: Connection
) -> None:
    """psycopg calls that an OperationalError, as it does a server that is away."""
    with Recorder(settings) as recorder:
        with held(connection):
            record(recorder, 3)
            recorder.start(secrets.token_hex(8_000), window=WINDOW).finish()
            record(recorder, 3)
        assert recorder.flush(PATIENCE)
        assert (recorder.recorded, recorder.failed, recorder.dropped) == (6, 1, 0)
    assert count(connection) == 6


def test_what_waits_is_bounded_in_number_and_in_bytes(
    settings: Settings, connection: Connection
) -> None:
    with Recorder(settings, capacity=5) as recorder:
        with held(connection):
            record(recorder, 8)
            assert recorder.dropped == 3  # those that are being written count too
        assert recorder.flush(PATIENCE)
        assert recorder.recorded == 5
    with Recorder(settings, capacity_bytes=40_000) as recorder:
        with held(connection):
            record(recorder, 100)
            dropped = recorder.dropped
            assert 50 < dropped < 100
        assert recorder.flush(PATIENCE)
        record(recorder, 1)  # there is room again
        assert recorder.flush(PATIENCE)
        assert (recorder.recorded, recorder.dropped) == (101 - dropped, dropped)


def test_a_hundred_large_trajectories_are_more_than_one_transaction_takes(
    settings: Settings, connection: Connection
) -> None:
    with Recorder(settings) as recorder:
        with held(connection):
            for _ in range(12):
                with recorder.record("agent-1", window=WINDOW) as trajectory:
                    trajectory.step(note="x" * 2**20)
        assert recorder.flush(PATIENCE)
        assert recorder.recorded == 12
    most = value(
        connection,
        "SELECT max(n) FROM (SELECT count(*) AS n FROM trajectories GROUP BY xmin::text) AS each",
    )
    assert most == 4
