"""Behind PgBouncer in transaction mode, with ``?pgbouncer=true``: nothing is lost or mixed up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from factories import WINDOW, fill_window
from pgbouncer import PgBouncer
from scoring_runs import run as score
from scoring_runs import seal
from structlog.testing import capture_logs
from tcp_proxy import TcpProxy
from training_steps import peer, train

from babylon_tasks.cli import checks
from babylon_tasks.db.babylon import TABLES
from babylon_tasks.db.kept_connections import kept
from babylon_tasks.db.migrate import apply
from babylon_tasks.db.session import Connection, connect, session
from babylon_tasks.db.session_values import session_values
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.errors import DatabaseUnavailable
from babylon_tasks.faults import Fault, fault_of
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.recorder import Recorder
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings

MakeSettings = Callable[..., Settings]
HELD = (
    "SELECT current_setting('timezone'), current_setting('search_path'), "
    "current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"
)
OURS = ("UTC", "public", "30s", "2min")
no_tables = pytest.mark.contract(None)
today = pytest.mark.contract("today")


@pytest.fixture(scope="module")
def pooler(servers_dir: Path, postgres: EmbeddedPostgres) -> Iterator[PgBouncer]:
    """Two server sessions for each database, whatever the number of clients."""
    with PgBouncer(servers_dir / "pgbouncer", postgres, pool_size=2) as server:
        yield server


@pytest.fixture
def pooled_url(database_url: str, pooler: PgBouncer) -> Iterator[str]:
    yield f"{pooler.before(database_url)}?pgbouncer=true"
    kept.close()


@pytest.fixture
def pooled(make_settings: MakeSettings, pooled_url: str, redis_url: str) -> Settings:
    return make_settings(DATABASE_URL=pooled_url, REDIS_URL=redis_url)


@pytest.fixture
def proxy(pooler: PgBouncer) -> Iterator[TcpProxy]:
    with TcpProxy(pooler.port) as proxy:
        yield proxy
        kept.close()


@pytest.fixture
def proxied(make_settings: MakeSettings, pooled_url: str, proxy: TcpProxy) -> Settings:
    """Settings that reach the pooler through the proxy, and wait half a second for it."""
    through = pooled_url.replace(f":{urlsplit(pooled_url).port}/", f":{proxy.port}/")
    return make_settings(DATABASE_URL=through, database_timeout_seconds=0.5)


@no_tables
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


@no_tables
def test_nothing_is_left_in_the_servers_session_for_another_client(
    pooled: Settings, pooled_url: str
) -> None:
    with session(pooled) as connection:
        connection.execute("SELECT 1")
        with psycopg.connect(pooled.dsn, autocommit=True) as other:
            assert other.execute("SHOW search_path").fetchone() == ('"$user", public',)
            assert other.execute("SHOW lock_timeout").fetchone() == ("0",)


@no_tables
def test_statements_are_not_prepared_for_a_session_that_changes(pooled: Settings) -> None:
    with session(pooled) as one, session(pooled) as other:
        for _ in range(10):
            with one.transaction():  # the other gets the second server session
                one.execute("SELECT %s::int", (1,))
                assert other.execute("SELECT %s::int", (2,)).fetchone() == (2,)
    with psycopg.connect(pooled.dsn, autocommit=True) as client:
        assert client.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


@no_tables
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


@no_tables
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


@today
def test_the_schema_is_honoured_by_migrations_recorders_and_doctor(
    make_settings: MakeSettings, babylon_database_url: str, pooler: PgBouncer, redis_url: str
) -> None:
    """A schema that Postgres would fold, too."""
    with psycopg.connect(babylon_database_url, autocommit=True) as owner:
        owner.execute('CREATE SCHEMA "Game"')
        for table in TABLES:
            owner.execute(f'ALTER TABLE {table} SET SCHEMA "Game"')
    url = f"{pooler.before(babylon_database_url)}?pgbouncer=true&schema=Game"
    settings = make_settings(DATABASE_URL=url, REDIS_URL=redis_url)
    assert apply(settings)
    with Recorder(settings) as recorder:
        record(recorder, 1)

    found = {one.check: one for one in checks.postgres(settings)}

    assert {one.outcome for one in found.values()} <= {"ok", "warn"}
    assert found["session"].detail == 'UTC, search path "Game", through a pooler'
    with psycopg.connect(babylon_database_url) as direct:
        assert direct.execute("SELECT to_regclass('public.trajectories')").fetchone() == (None,)
        assert direct.execute('SELECT count(*) FROM "Game".trajectories').fetchone() == (1,)


@today
def test_four_recorders_at_once_lose_nothing(pooled: Settings, connection: Connection) -> None:
    with ExitStack() as stack:
        recorders = [stack.enter_context(Recorder(pooled)) for _ in range(4)]
        threads = [threading.Thread(target=record, args=(one, 40)) for one in recorders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(one.flush(60) for one in recorders)
    assert [(one.recorded, one.failed, one.dropped) for one in recorders] == [(40, 0, 0)] * 4
    assert connection.execute("SELECT count(*) FROM trajectories").fetchone() == (160,)


@today
def test_a_window_is_scored_and_trained(pooled: Settings, connection: Connection) -> None:
    fill_window(connection, agents=4, spread=200)
    seal(connection)

    assert score(pooled).scored == 4
    outcome = train(pooled, peer(pooled), WINDOW)
    reconcile(pooled, actor="test")

    assert (outcome.action, outcome.step) == ("committed", 1)


@today
def test_a_window_that_is_not_read_to_its_end_frees_its_servers_session(
    make_settings: MakeSettings, pooled: Settings, connection: Connection
) -> None:
    fill_window(connection, agents=8)
    small = make_settings(read_batch=1)
    with session(pooled) as one:
        with closing(stream_window(one, WINDOW, small)) as batches:
            next(batches)
        assert one.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert one.execute("SELECT count(*) FROM trajectories").fetchone() == (8,)


@no_tables
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


@no_tables
def test_a_pooler_that_falls_silent_is_waited_for_as_long_as_written(
    proxied: Settings, proxy: TcpProxy
) -> None:
    with session(proxied):
        pass
    assert proxy.half_open() == 1

    def ask() -> None:
        with session(proxied) as connection:  # not the half-open one, which does not answer
            proxy.half_open()
            connection.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.5 s"):
        ask()


@no_tables
def test_the_server_frees_the_locks_of_a_client_it_hears_no_more_of(
    proxied: Settings, proxy: TcpProxy, connection: Connection
) -> None:
    """Its timeout holds although it is the pooler whom Postgres hears."""

    def lock() -> None:
        with session(proxied) as lost, lost.transaction():
            lost.execute("LOCK TABLE training.windows")
            proxy.half_open()
            lost.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailable, match="no answer within"):
        lock()
    connection.execute("SET lock_timeout = '20s'; LOCK TABLE training.windows")


@no_tables
def test_upkeep_frees_the_locks_of_a_client_that_stopped_in_the_middle_of_a_copy(
    proxied: Settings, proxy: TcpProxy, connection: Connection
) -> None:
    def copy() -> None:
        with session(proxied) as lost, lost.transaction(), lost.cursor() as cursor:
            lost.execute("CREATE TEMPORARY TABLE spool (line text); LOCK TABLE training.windows")
            with cursor.copy("COPY spool FROM STDIN") as rows:
                rows.write("one\n")
                proxy.half_open()
                rows.write(1_000_000 * "two\n")

    with pytest.raises(DatabaseUnavailable, match="no answer within"):
        copy()
    lock = "SET lock_timeout = '3s'; LOCK TABLE training.windows"
    with pytest.raises(psycopg.errors.LockNotAvailable):
        connection.execute(lock)

    reconcile(proxied, actor="test")
    connection.execute(lock)


@no_tables
@pytest.mark.parametrize("ignored", ["", "options"], ids=["refuses", "ignores"])
def test_without_pgbouncer_true_the_error_says_to_add_it(
    ignored: str,
    servers_dir: Path,
    postgres: EmbeddedPostgres,
    make_settings: MakeSettings,
    database_url: str,
) -> None:
    """Whether the pooler refuses options, by default, or ignores them, as many are set to do.

    Even if the same values hold by themselves: statements that another session prepared do not.
    """
    with psycopg.connect(database_url, autocommit=True) as owner:
        for name, value in session_values(
            make_settings(DATABASE_URL=f"{database_url}?pgbouncer=true")
        ).items():
            owner.execute(f"ALTER DATABASE {owner.info.dbname} SET {name} = '{value}'")
    home = servers_dir / "pgbouncer-options"
    with PgBouncer(home, postgres, ignore_startup_parameters=ignored) as pooler:
        settings = make_settings(DATABASE_URL=pooler.before(database_url))
        with pytest.raises(
            DatabaseUnavailable, match="add pgbouncer=true to DATABASE_URL"
        ) as error:
            connect(settings)
        assert fault_of(error.value) is Fault.MISCONFIGURED

        # A recorder waits for whoever corrects that, and says so.
        with capture_logs() as logs:
            recorder = Recorder(settings)
            record(recorder, 1)
            assert not recorder.flush(1)
            assert recorder.failed == 0
            recorder.close(0)
    (why, *_) = [entry["why"] for entry in logs if entry["event"] == "recorder.write_delayed"]
    assert "add pgbouncer=true" in why


@no_tables
def test_a_prepared_statement_that_a_pooler_has_lost_says_the_same(settings: Settings) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match="add pgbouncer=true to DATABASE_URL"),
        session(settings) as connection,
    ):
        connection.execute("EXECUTE lost")


@today
def test_a_recorder_tries_again_over_another_connection_after_that(
    settings: Settings, connection: Connection
) -> None:
    connection.execute(
        "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN NULL; END $$;"
        "CREATE TRIGGER forget AFTER INSERT ON trajectories EXECUTE FUNCTION forget()"
    )
    with Recorder(settings) as recorder:
        record(recorder, 10)
        assert recorder.flush(60)
    assert (recorder.recorded, recorder.failed) == (10, 0)


@no_tables
def test_pgbouncer_true_works_without_a_pooler(
    make_settings: MakeSettings, database_url: str
) -> None:
    settings = make_settings(DATABASE_URL=f"{database_url}?pgbouncer=true")
    with connect(settings) as connection:
        assert connection.execute(HELD).fetchone() == OURS


@no_tables
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


def record(recorder: Recorder, count: int) -> None:
    for number in range(count):
        with recorder.record(f"agent-{number}", window=WINDOW) as trajectory:
            step = trajectory.step(balance=1000, pnl=float(number))
            step.llm_call(
                messages=[{"role": "user", "content": "YES or NO?"}],
                response="YES",
                model="babylon@3",
                temperature=1,
                max_tokens=16,
            )
            step.action("HOLD", {}, success=True)
