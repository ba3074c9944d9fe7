"""Transactions that can write nothing and take no long time: for what strangers' clicks start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import QueryCanceled

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db import migrate
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.sql import statement
from babylon_tasks.errors import DatabaseUnavailable

STATEMENT_SECONDS = 15.0
_PATIENCE_SECONDS = 3.0


@contextmanager
def read_only(
    settings: DatabaseSettings, *, seconds: float = STATEMENT_SECONDS
) -> Iterator[Connection]:
    """Read in one transaction of a database with this code's schema; Postgres refuses any write.

    Raises DatabaseUnavailable for a statement of more than ``seconds``, MigrationError for another
    schema, and otherwise as ``session``.
    """
    values = {
        "transaction_read_only": "on",
        "statement_timeout": f"{int(1000 * seconds)}ms",
    }
    with (
        session(settings, patience=_PATIENCE_SECONDS) as connection,
        _in_time(seconds),  # within the session, which has a sentence of its own for it
        connection.transaction(),
    ):
        connection.execute(
            statement("session_values.set"),
            {"names": list(values), "values": list(values.values())},
        )
        migrate.check(connection)
        yield connection


@contextmanager
def _in_time(seconds: float) -> Iterator[None]:
    try:
        yield
    except QueryCanceled as error:
        raise DatabaseUnavailable(
            f"Postgres had not answered a question after {seconds:g} s; ask for fewer windows, or "
            "again when it has less to do"
        ) from error
