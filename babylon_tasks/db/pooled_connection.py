"""A connection through a transaction pooler: each transaction may be in another server session.

So nothing is set for a session. Each transaction begins with its own values, and a statement
outside of one has one of its own. Prepared statements do not outlive it either: the caller passes
``prepare_threshold=None``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from babylon_tasks.db.bounded_connection import BoundedConnection
from babylon_tasks.db.sql import statement


class PooledConnection(BoundedConnection):
    """``values``, by name, are in force in every transaction and in none of another client's."""

    values: Mapping[str, str]

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        """Begin a transaction with ``values``; inside of another one, set a savepoint."""
        begins = self.info.transaction_status == TransactionStatus.IDLE
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if begins:
                names, values = list(self.values), list(self.values.values())
                self.execute(statement("session_values.set"), {"names": names, "values": values})
            yield transaction


class PooledCursor(psycopg.Cursor[Any]):
    """Gives a statement that is in no transaction one of its own, with the connection's values."""

    def execute(self, *arguments: Any, **options: Any) -> PooledCursor:
        with self._transaction():
            return super().execute(*arguments, **options)

    def executemany(self, *arguments: Any, **options: Any) -> None:
        with self._transaction():
            super().executemany(*arguments, **options)

    @contextmanager
    def copy(self, *arguments: Any, **options: Any) -> Iterator[psycopg.Copy]:
        with self._transaction(), super().copy(*arguments, **options) as copy:
            yield copy

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self.connection.info.transaction_status != TransactionStatus.IDLE:
            yield
            return
        with self.connection.transaction():
            yield
