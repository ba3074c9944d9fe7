"""A pooler, or the network before it, that falls silent: nobody waits or keeps a lock for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from lost_clients import lose_in_a_copy, lose_in_a_transaction
from pgbouncer import PgBouncer
from tcp_proxy import TcpProxy

from babylon_tasks.db.kept_connections import kept
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import DatabaseUnavailable
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)
MakeSettings = Callable[..., Settings]


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


def test_the_server_frees_the_locks_of_a_client_it_hears_no_more_of(
    proxied: Settings, proxy: TcpProxy, connection: Connection
) -> None:
    """Its timeout holds although it is the pooler whom Postgres hears."""
    with pytest.raises(DatabaseUnavailable, match="no answer within"):
        lose_in_a_transaction(proxied, proxy)
    connection.execute("SET lock_timeout = '20s'; LOCK TABLE training.windows")


def test_upkeep_frees_the_locks_of_a_client_that_stopped_in_the_middle_of_a_copy(
    proxied: Settings, proxy: TcpProxy, connection: Connection
) -> None:
    with pytest.raises(DatabaseUnavailable, match="no answer within"):
        lose_in_a_copy(proxied, proxy)
    lock = "SET lock_timeout = '3s'; LOCK TABLE training.windows"
    with pytest.raises(psycopg.errors.LockNotAvailable):
        connection.execute(lock)

    reconcile(proxied, actor="test")
    connection.execute(lock)
