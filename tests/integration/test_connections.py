"""Connections are kept between sessions, belong to one process, and wait no longer than written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from lost_clients import lose_in_a_copy, lose_in_a_transaction
from tcp_proxy import TcpProxy

from babylon_tasks.db import abandoned_sessions, kept_connections
from babylon_tasks.db.kept_connections import kept
from babylon_tasks.db.session import Connection, connect, session
from babylon_tasks.errors import DatabaseUnavailable
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)


@pytest.fixture
def proxy(database_url: str) -> Iterator[TcpProxy]:
    with TcpProxy(urlsplit(database_url).port or 5432) as proxy:
        yield proxy
        kept.close()


@pytest.fixture
def proxied(make_settings: Callable[..., Settings], database_url: str, proxy: TcpProxy) -> Settings:
    """Settings that reach the database through the proxy, and wait half a second for it."""
    url = urlsplit(database_url)
    login = url.netloc.rpartition("@")[0]
    through = urlunsplit(url._replace(netloc=f"{login}@127.0.0.1:{proxy.port}"))
    return make_settings(DATABASE_URL=through, database_timeout_seconds=0.5)


def backend(settings: Settings) -> int:
    """The server process that a session talks to."""
    with session(settings) as connection:
        return connection.info.backend_pid


def test_sessions_one_after_the_other_use_one_connection(settings: Settings) -> None:
    assert backend(settings) == backend(settings)


def test_sessions_at_the_same_time_have_one_each(settings: Settings) -> None:
    with session(settings) as one:
        assert backend(settings) != one.info.backend_pid


def test_another_database_is_another_connection(
    settings: Settings, make_settings: Callable[..., Settings], database_url: str
) -> None:
    there = make_settings(DATABASE_URL=f"{database_url}?schema=training")
    assert backend(settings) != backend(there)
    with session(there) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("training",)


def test_a_connection_is_not_kept_after_an_error(settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError), session(settings) as connection:
        raise ZeroDivisionError
    assert connection.closed


def test_a_connection_with_an_open_transaction_is_not_kept(settings: Settings) -> None:
    with session(settings) as connection:
        connection.execute("BEGIN")
    assert connection.closed


def test_no_more_than_three_are_kept(settings: Settings) -> None:
    with session(settings) as a, session(settings) as b, session(settings) as c:  # noqa: SIM117
        with session(settings) as d:
            pass
    assert [one.closed for one in (d, c, b, a)] == [True, False, False, False]


def test_a_kept_connection_that_the_server_has_ended_is_replaced(
    settings: Settings, connection: Connection
) -> None:
    ended = backend(settings)
    connection.execute("SELECT pg_terminate_backend(%s, 10000)", (ended,))
    assert backend(settings) != ended


def test_a_kept_connection_that_is_half_open_is_replaced(
    proxied: Settings, proxy: TcpProxy
) -> None:
    dead = backend(proxied)
    assert proxy.half_open() == 1
    assert backend(proxied) != dead


def test_a_kept_connection_waits_as_long_as_its_next_session_says(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not as long as the check before it, which is over at once or not at all."""
    monkeypatch.setattr(kept_connections, "_CHECK_SECONDS", 0.3)
    one = backend(settings)
    with session(settings, silence=30) as connection:
        assert connection.execute("SELECT pg_sleep(1)").fetchone() == ("",)
        assert connection.info.backend_pid == one


def test_an_answer_that_never_comes_is_waited_for_as_long_as_written(
    proxied: Settings, proxy: TcpProxy
) -> None:
    def ask() -> None:
        with session(proxied) as connection:
            proxy.half_open()
            connection.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailable, match=r"was lost: no answer within 0\.5 s.*try again"):
        ask()


def test_a_commit_whose_answer_never_comes_is_waited_for_as_long_as_written(
    proxied: Settings, proxy: TcpProxy
) -> None:
    def commit() -> None:
        with session(proxied) as connection, connection.transaction():
            connection.execute("SELECT 1")
            proxy.half_open()

    with pytest.raises(DatabaseUnavailable, match="no answer within"):
        commit()


def test_a_stream_that_stops_is_waited_for_as_long_as_written(
    proxied: Settings, proxy: TcpProxy
) -> None:
    """COPY, as scoring reads, answered half and then no more."""
    million = "COPY (SELECT repeat('x', 100) FROM generate_series(1, 1000000)) TO STDOUT"

    def read() -> None:
        with (
            session(proxied) as connection,
            connection.cursor() as cursor,
            cursor.copy(million) as copy,
        ):
            for number, _ in enumerate(copy):
                if number == 1:
                    proxy.half_open()

    with pytest.raises(DatabaseUnavailable, match="no answer within"):
        read()


def test_a_long_stream_is_no_silence(proxied: Settings) -> None:
    """The bound is for one answer, not for all of them."""
    slow = "COPY (SELECT pg_sleep(0.1), repeat('x', 10000) FROM generate_series(1, 8)) TO STDOUT"
    with session(proxied) as connection, connection.cursor() as cursor, cursor.copy(slow) as copy:
        assert len(list(copy.rows())) == 8


def test_the_server_frees_the_locks_of_a_client_it_hears_no_more_of(
    proxied: Settings, proxy: TcpProxy, connection: Connection
) -> None:
    with pytest.raises(DatabaseUnavailable, match="no answer within"):
        lose_in_a_transaction(proxied, proxy)
    connection.execute("SET lock_timeout = '20s'; LOCK TABLE training.windows")


def test_upkeep_frees_the_locks_of_a_client_that_stopped_in_the_middle_of_a_copy(
    proxied: Settings, proxy: TcpProxy, settings: Settings, connection: Connection
) -> None:
    """Postgres's own timeouts do not count while it waits for the rows of COPY FROM STDIN."""
    url = settings.database_url.get_secret_value()
    babylons = psycopg.connect(url, application_name="babylon")
    babylons.execute("SELECT 1")  # from here it is silent in a transaction, as its owner wants
    with pytest.raises(DatabaseUnavailable, match="no answer within"):
        lose_in_a_copy(proxied, proxy)
    lock = "SET lock_timeout = '3s'; LOCK TABLE training.windows"
    with pytest.raises(psycopg.errors.LockNotAvailable):
        connection.execute(lock)
    assert abandoned_sessions.terminate(connection, settings) == 0, "not yet: a minute, by default"

    reconcile(proxied, actor="test")
    connection.execute(lock)
    with babylons:
        assert babylons.execute("SELECT 2").fetchone() == (2,), "it is not ours to end"


def test_a_forked_child_uses_none_of_its_parents_connections(settings: Settings) -> None:
    """As Celery's prefork pool: neither does the child use them nor does it end them."""
    kept_one = backend(settings)
    with connect(settings) as opened:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(write, str(backend(settings)).encode())
            finally:
                os._exit(0)  # without a word to the server: pytest is the parent's
        os.waitpid(child, 0)
        os.close(write)
        with os.fdopen(read) as answer:
            assert int(answer.read()) not in (kept_one, opened.info.backend_pid)
        assert opened.execute("SELECT 1").fetchone() == (1,)
    assert backend(settings) == kept_one


def test_the_kernel_is_asked_to_notice_a_dead_peer(settings: Settings) -> None:
    with connect(settings) as connection:
        parameters = connection.info.get_parameters()
    assert {name: parameters[name] for name in parameters if name.startswith("keepalives")} == {
        "keepalives": "1",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
    }
    assert parameters["tcp_user_timeout"] == "25000"


def test_what_the_url_asks_for_goes_first(
    make_settings: Callable[..., Settings], database_url: str
) -> None:
    settings = make_settings(DATABASE_URL=f"{database_url}?keepalives_idle=77&connect_timeout=9")
    with connect(settings) as connection:
        parameters = connection.info.get_parameters()
    assert (parameters["keepalives_idle"], parameters["connect_timeout"]) == ("77", "9")


def test_a_server_that_is_away_is_asked_again_for_a_while(settings: Settings) -> None:
    gone = psycopg.conninfo.conninfo_to_dict(settings.dsn) | {"port": "1"}
    url = "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(**gone)
    away = settings.model_copy(update={"database_url": type(settings.database_url)(url)})
    with pytest.raises(DatabaseUnavailable, match="refused the connection"):
        connect(away, patience=0.5)
