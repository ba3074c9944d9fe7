"""Connections to Postgres: UTC, bounded waits, a clear error when the server is unreachable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InsufficientPrivilege, LockNotAvailable, UndefinedColumn, UndefinedTable
from psycopg.rows import TupleRow
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.errors import (
    DatabaseError,
    DatabaseUnavailable,
    MigrationError,
    SettingsError,
)

Connection = psycopg.Connection[TupleRow]

# The session's zone matters: Babylon's timestamps have none and mean UTC.
# idle_in_transaction: a stopped process must not hold locks forever.
_OPTIONS = (
    "-c timezone=UTC -c lock_timeout=30s -c idle_in_transaction_session_timeout=15min"
    " -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
)


def connect(
    settings: DatabaseSettings, *, autocommit: bool = True, patience: float = 10
) -> Connection:
    """Open a connection, trying for ``patience`` seconds.

    Raises DatabaseUnavailable, or SettingsError where libpq cannot read DATABASE_URL.

    Autocommit by default: a transaction is always a visible ``with conn.transaction():``.
    """

    @retry(
        retry=retry_if_exception_type(psycopg.OperationalError),
        stop=stop_after_delay(patience),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    def attempt() -> Connection:
        return psycopg.connect(
            settings.dsn,
            autocommit=autocommit,
            connect_timeout=5,
            # A database of encoding SQL_ASCII would return bytes instead of text.
            client_encoding="utf8",
            options=f"{_OPTIONS} -c search_path={settings.database_schema}",
            application_name="babylon-tasks",
        )

    try:
        return attempt()
    except psycopg.ProgrammingError:  # libpq's own message may quote a part of the password
        raise SettingsError(
            "libpq cannot read DATABASE_URL: a parameter in it is neither libpq's nor Prisma's"
        ) from None
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(
            f"Postgres at {address(settings)} refused the connection: {_without_secrets(error)}; "
            "check DATABASE_URL and that the server runs, then try again"
        ) from None


@contextmanager
def session(settings: DatabaseSettings, **kwargs: Any) -> Iterator[Connection]:
    """Connect for the length of a block; a lost server becomes DatabaseUnavailable.

    A missing table or column becomes MigrationError, a missing right DatabaseError.
    """
    connection = connect(settings, **kwargs)
    try:
        with connection:
            yield connection
    except (UndefinedTable, UndefinedColumn) as error:
        raise MigrationError(
            f"the database at {address(settings)} is not what this version expects: "
            f"{_without_secrets(error)}; check that DATABASE_URL names Babylon's database, then "
            "run `babylon-tasks migrate`"
        ) from error
    except InsufficientPrivilege as error:
        raise DatabaseError(
            f"Postgres at {address(settings)} denies it: {_without_secrets(error)}; grant that "
            "to the user of DATABASE_URL, then try again"
        ) from error
    except LockNotAvailable as error:
        raise DatabaseUnavailable(
            f"Postgres at {address(settings)} could not get a lock in time: "
            f"{_without_secrets(error)}; the transaction was rolled back, try again"
        ) from error
    except psycopg.OperationalError as error:
        if not connection.broken:
            raise
        raise DatabaseUnavailable(
            f"the connection to Postgres at {address(settings)} was lost: "
            f"{_without_secrets(error)}; the transaction was rolled back, try again"
        ) from error


def address(settings: DatabaseSettings) -> str:
    """Format host, port and database of DATABASE_URL, without user or password."""
    parts = conninfo_to_dict(settings.dsn)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def _without_secrets(error: psycopg.Error) -> str:
    # libpq's messages name host and user but never the password; keep the first line only.
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
