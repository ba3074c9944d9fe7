"""What holds in each statement and transaction, whichever server session it is in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest

from babylon_tasks.db.session import Connection, connect, session
from babylon_tasks.errors import DatabaseUnavailable
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)
MakeSettings = Callable[..., Settings]
HELD = (
    "SELECT current_setting('timezone'), current_setting('search_path'), "
    "current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"
)
OURS = ("UTC", "public", "30s", "2min")


def test_every_statement_has_the_values_that_it_relies_on(pooled: Settings) -> None:
    with session(pooled) as connection:
        assert connection.execute(HELD).fetchone() == OURS
        with connection.transaction():
            assert connection.execute(HELD).fetchone() == OURS
            with connection.transaction():
                assert connection.execute(HELD).fetchone() == OURS
        with connection.cursor() as cursor, cursor.copy(f"COPY ({HELD}) TO STDOUT") as copy:
            assert list(copy.rows()) == [OURS]
        with connection.cursor() as cursor:
            cursor.executemany(f"{HELD} WHERE %s", [(True,), (True,)], returning=True)
            assert cursor.fetchall() == [OURS]
            assert cursor.nextset()
            assert cursor.fetchall() == [OURS]


def test_nothing_is_left_in_the_servers_session_for_another_client(
    pooled: Settings, pooled_url: str
) -> None:
    with session(pooled) as connection:
        connection.execute("SELECT 1")
        with psycopg.connect(pooled.dsn, autocommit=True) as other:
            assert other.execute("SHOW search_path").fetchone() == ('"$user", public',)
            assert other.execute("SHOW lock_timeout").fetchone() == ("0",)


def test_statements_are_not_prepared_for_a_session_that_changes(pooled: Settings) -> None:
    with session(pooled) as one, session(pooled) as other:
        for _ in range(10):
            with one.transaction():  # the other gets the second server session
                one.execute("SELECT %s::int", (1,))
                assert other.execute("SELECT %s::int", (2,)).fetchone() == (2,)
    with psycopg.connect(pooled.dsn, autocommit=True) as client:
        assert client.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def test_a_statement_that_fails_leaves_neither_its_transaction_nor_a_row(
    pooled: Settings, connection: Connection
) -> None:
    connection.execute("CREATE TABLE one (n int PRIMARY KEY)")
    with session(pooled) as behind:
        behind.execute("INSERT INTO one VALUES (1)")
        with suppress(psycopg.errors.UniqueViolation):
            behind.cursor().executemany("INSERT INTO one VALUES (%s)", [(2,), (1,)])
        assert behind.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with behind.transaction():
            behind.execute("INSERT INTO one VALUES (3)")
            raise psycopg.Rollback
        assert behind.execute("SELECT array_agg(n) FROM one").fetchone() == ([1],)


def test_a_kept_connection_is_used_again_after_its_servers_session_has_ended(
    pooled: Settings, connection: Connection
) -> None:
    with session(pooled) as first:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with session(pooled) as again:
        assert again is first
        assert again.execute("SELECT 1").fetchone() == (1,)


def test_anothers_lock_is_waited_for_as_long_as_written(
    make_settings: MakeSettings, pooled_url: str, connection: Connection
) -> None:
    hasty = make_settings(DATABASE_URL=pooled_url, database_timeout_seconds=1)
    with connection.transaction():
        connection.execute("LOCK TABLE training.windows IN ACCESS EXCLUSIVE MODE")
        for ask in (
            lambda waiting: waiting.execute("SELECT FROM training.windows"),
            lambda waiting: waiting.cursor().executemany("DELETE FROM training.windows", [()]),
        ):
            with pytest.raises(DatabaseUnavailable, match="lock in time"), session(hasty) as one:
                ask(one)


def test_pgbouncer_true_works_without_a_pooler(
    make_settings: MakeSettings, database_url: str
) -> None:
    settings = make_settings(DATABASE_URL=f"{database_url}?pgbouncer=true")
    with connect(settings) as connection:
        assert connection.execute(HELD).fetchone() == OURS


@pytest.mark.parametrize("size", [0, 2])
def test_no_more_statements_are_prepared_than_the_url_allows(
    make_settings: MakeSettings, database_url: str, size: int
) -> None:
    settings = make_settings(DATABASE_URL=f"{database_url}?statement_cache_size={size}")
    with connect(settings) as connection:
        for number in range(30):
            connection.execute(f"SELECT %s::int + {number // 10}", (1,))
        found = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    # psycopg drops the oldest one after it has prepared one too many.
    assert found in ([(0,)] if size == 0 else [(size,), (size + 1,)])
