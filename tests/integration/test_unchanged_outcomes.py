"""Outcomes are compared with Babylon's only where somebody has written to its table."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from factories import EVER, WINDOW, insert_outcomes, market_outcome
from psycopg.errors import LockNotAvailable
from psycopg.types.json import Jsonb

from babylon_tasks.db import outcomes
from babylon_tasks.db.outcomes import follow
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.db.sql import execute, fetch_value
from babylon_tasks.settings import Settings

MakeSettings = Callable[..., Settings]


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(lookback_hours=int(EVER))


def test_what_nobody_has_written_to_is_not_compared_again(
    settings: Settings, connection: Connection
) -> None:
    insert_outcomes(connection, [market_outcome("m-1")])
    follow(connection, settings)  # everything
    follow(connection, settings)  # the look-back
    connection.execute("SET lock_timeout = '100ms'")
    with connect(settings) as other, other.transaction():
        execute(other, "outcomes.take_turn")
        assert follow(connection, settings) == 0  # takes no turn: it would wait for this one
        for written in (
            "UPDATE market_outcomes SET outcome = outcome",
            """INSERT INTO market_outcomes SELECT (jsonb_populate_record(m, '{"id": "2"}')).*
               FROM market_outcomes m""",
            "DELETE FROM market_outcomes WHERE id = '2'",
        ):
            connection.execute(written.encode())
            with pytest.raises(LockNotAvailable):
                follow(connection, settings)


def test_after_a_while_it_is_compared_whoever_wrote(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_outcomes(connection, [market_outcome("m-1")])
    follow(connection, settings)
    follow(connection, settings)
    connection.execute("DELETE FROM training.outcomes")  # as a backup that was restored
    monkeypatch.setattr(outcomes, "_TRUSTED", 0.0)

    follow(connection, settings)

    assert connection.execute("SELECT name FROM training.outcomes").fetchall() == [("m-1",)]


def test_a_view_of_outcomes_is_read_as_well(settings: Settings, connection: Connection) -> None:
    connection.execute("ALTER TABLE market_outcomes RENAME TO elsewhere")
    connection.execute("CREATE VIEW market_outcomes AS SELECT * FROM elsewhere")
    connection.execute(
        "INSERT INTO elsewhere SELECT (jsonb_populate_record(null::elsewhere, %s)).*",
        [Jsonb({**market_outcome("m-1"), "createdAt": "2026-01-31T09:00:00"})],
    )
    assert [follow(connection, settings) for _ in range(3)] == [1, 0, 0]
    kept = connection.execute("SELECT name, window_id, yes FROM training.outcomes").fetchall()
    assert kept == [("m-1", WINDOW, True)]


def test_rows_are_asked_who_wrote_them_only_where_they_say_it_to_us(
    connection: Connection,
) -> None:
    def show_writers() -> bool:
        return fetch_value(connection, "outcomes.show_writers", bool)

    assert show_writers()
    connection.execute("CREATE ROLE narrow")
    try:
        connection.execute('GRANT SELECT (id, "windowId") ON market_outcomes TO narrow')
        connection.execute("SET ROLE narrow")
        assert not show_writers()  # xmin is denied to it
    finally:
        connection.execute("RESET ROLE")
        connection.execute("DROP OWNED BY narrow")
        connection.execute("DROP ROLE narrow")
    connection.execute("CREATE TABLE elsewhere () INHERITS (market_outcomes)")
    assert not show_writers()  # it might be on another server
