"""The system under faults: servers of its own behind proxies, questions that survive them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import redis
from acceptance.harness import Babylon, until
from psycopg.rows import dict_row
from tcp_proxy import TcpProxy

from babylon_tasks.db.session import Connection
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from babylon_tasks.sandbox.stack import Stack


class System(Babylon):
    """A stack whose processes reach Postgres and Redis through proxies; the test goes directly."""

    def __init__(
        self,
        stack: Stack,
        connection: Connection,
        *,
        postgres: EmbeddedPostgres,
        postgres_proxy: TcpProxy,
        valkey: EmbeddedValkey,
        valkey_proxy: TcpProxy,
    ) -> None:
        super().__init__(stack, connection)
        self.postgres = postgres
        self.postgres_proxy = postgres_proxy
        self.valkey = valkey
        self.valkey_proxy = valkey_proxy
        self._database = connection.info.dbname

    def open(self) -> Connection:
        """A connection of the test's own, past the proxy."""
        return psycopg.connect(self.postgres.database(self._database), autocommit=True)

    def rows(self, query: Any, parameters: Any = ()) -> list[dict[str, Any]]:
        """All rows of a query, by column; on a new connection, since servers come and go."""
        with self.open() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, parameters).fetchall()

    def record(self, window: str, **how: Any) -> list[str]:
        """As Babylon's, on a new connection."""
        with self.open() as self.connection:
            return super().record(window, **how)

    def redis(self) -> redis.Redis:
        """A client of the test's own, past the proxy."""
        return redis.Redis.from_url(self.valkey.url)

    def await_waiter(self, table: str) -> None:
        """Until somebody waits for a lock on one of our tables."""
        waiting = (
            "SELECT FROM pg_locks JOIN pg_class ON pg_class.oid = relation"
            " JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE NOT granted AND nspname = 'training' AND relname = %s"
        )
        until(
            f"somebody waits for training.{table}",
            lambda: self._alive() and self.rows(waiting, (table,)),
        )

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Nobody else writes to a table of ours until the block ends, or Postgres does."""
        connection = self.open()
        try:
            connection.execute("BEGIN")
            connection.execute(f"LOCK TABLE training.{table} IN EXCLUSIVE MODE")  # type: ignore[arg-type]
            yield
        finally:
            connection.close()  # and with it the transaction

    def signal_worker(self, name: str, number: signal.Signals) -> None:
        """To a process and its children; the trainer leads a group of its own."""
        os.killpg(self.process(name).child.pid, number)
