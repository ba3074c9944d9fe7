"""Connections to Postgres: UTC, bounded waits, a clear error when the server is unreachable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import (
    DuplicatePreparedStatement,
    InsufficientPrivilege,
    InvalidSqlStatementName,
    LockNotAvailable,
    UndefinedColumn,
    UndefinedTable,
)
from psycopg.rows import TupleRow
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random_exponential

from babylon_tasks.addresses import host_and_port
from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db.bounded_connection import BoundedConnection
from babylon_tasks.db.connection import open_connection
from babylon_tasks.db.connection_advice import advice
from babylon_tasks.db.kept_connections import kept
from babylon_tasks.db.session_values import other_values
from babylon_tasks.errors import (
    DatabaseError,
    DatabaseRefuses,
    DatabaseUnavailable,
    MigrationError,
    SettingsError,
)
from babylon_tasks.faults import Fault, fault_of

Connection = psycopg.Connection[TupleRow]
# For statements over all of Babylon's rows, and migrations.
LONG_SECONDS = 3600.0
_FOREIGN = "libpq cannot read DATABASE_URL: a parameter in it is neither libpq's nor Prisma's"
# As PgBouncer and RDS Proxy write it.
_REFUSED_OPTIONS = re.compile(r"unsupported startup parameter|support command-line options")
_LONGER = ", with a longer statement_timeout where it comes again"
_REFUSALS = (Fault.DATABASE_REFUSES, Fault.DATABASE_FULL)


def connect(
    settings: DatabaseSettings,
    *,
    patience: float = 10,
    silence: float | None = None,
) -> BoundedConnection:
    """Open a connection, trying for ``patience`` seconds.

    ``silence``: the longest wait for an answer, BABYLON_DATABASE_TIMEOUT_SECONDS by default.
    Raises DatabaseUnavailable, or SettingsError where libpq cannot read DATABASE_URL.

    In autocommit mode: a transaction is always a visible ``with conn.transaction():``.
    """

    @retry(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_delay(patience),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    def attempt() -> BoundedConnection:
        connection = open_connection(settings, silence=_silence(settings, silence))
        try:
            # Else a pooler may have ignored them, and Babylon's tables be looked for elsewhere.
            ignored = {} if settings.pooled else other_values(connection, settings)
        except BaseException:
            connection.close()
            raise
        if ignored:
            connection.close()
            raise _behind_pooler(settings, f"it ignored {', '.join(ignored)}")
        return connection

    try:
        return attempt()
    except psycopg.ProgrammingError:  # libpq's own message may quote a part of the password
        raise SettingsError(_FOREIGN) from None
    except psycopg.OperationalError as error:
        if _REFUSED_OPTIONS.search(str(error)):
            raise _behind_pooler(settings, _without_secrets(error)) from None
        raise DatabaseUnavailable(
            f"Postgres at {address(settings)} refused the connection: {_without_secrets(error)}; "
            f"{advice(str(error))}"
        ) from None


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, psycopg.OperationalError) and not _REFUSED_OPTIONS.search(str(error))


def _behind_pooler(settings: DatabaseSettings, why: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"a pooler answers at {address(settings)}, which keeps no settings for a session ({why}); "
        "add pgbouncer=true to DATABASE_URL, or give it the address of Postgres itself",
        fault=Fault.MISCONFIGURED,
    )


@contextmanager
def session(
    settings: DatabaseSettings, *, patience: float = 10, silence: float | None = None
) -> Iterator[Connection]:
    """Open or reuse a connection for a block; it is kept for a later one unless the block raises.

    ``patience`` and ``silence`` as in ``connect``. A lost or silent server becomes
    DatabaseUnavailable, as does a statement that Postgres breaks off; a missing table or column
    MigrationError, a missing right DatabaseError, a server that takes no writes DatabaseRefuses.
    """
    connection = kept.take(settings, silence=_silence(settings, silence)) or connect(
        settings, patience=patience, silence=silence
    )
    try:
        yield connection
    except BaseException as error:
        lost = connection.broken
        connection.close()
        known = _known(settings, error, lost=lost)
        if known is None:
            raise
        raise known from error
    kept.keep(settings, connection)


def _known(settings: DatabaseSettings, error: BaseException, *, lost: bool) -> DatabaseError | None:
    match error:
        case UndefinedTable() | UndefinedColumn():
            return MigrationError(
                f"the database at {address(settings)} is not what this version expects: "
                f"{_without_secrets(error)}; check that DATABASE_URL names Babylon's database, "
                "then run `babylon-tasks migrate`"
            )
        case InvalidSqlStatementName() | DuplicatePreparedStatement() if not settings.pooled:
            return _behind_pooler(settings, _without_secrets(error))
        case InsufficientPrivilege():
            return DatabaseError(
                f"Postgres at {address(settings)} denies it: {_without_secrets(error)}; "
                f"{_granting(settings, error)}, then try again",
                fault=Fault.PERMISSION,
            )
        case psycopg.Error() if not lost and fault_of(error) in _REFUSALS:
            return DatabaseRefuses(
                f"Postgres at {address(settings)} refuses: {_without_secrets(error)}; what was "
                "not committed is rolled back and will be tried again once it takes writes",
                fault=fault_of(error),
            )
        case LockNotAvailable():
            return DatabaseUnavailable(
                f"Postgres at {address(settings)} could not get a lock in time: "
                f"{_without_secrets(error)}; the transaction was rolled back, try again",
                fault=Fault.LOCK_TIMEOUT,
            )
        # statement_timeout, pg_cancel_backend, a deadlock, a conflict of serializable transactions
        case psycopg.Error() if not lost and fault_of(error) is Fault.LOCK_TIMEOUT:
            return DatabaseUnavailable(
                f"Postgres at {address(settings)} broke a statement off: "
                f"{_without_secrets(error)}; the transaction was rolled back, try again"
                f"{_LONGER if 'statement timeout' in str(error) else ''}",
                fault=Fault.LOCK_TIMEOUT,
            )
        case psycopg.OperationalError() if lost:
            return DatabaseUnavailable(
                f"the connection to Postgres at {address(settings)} was lost: "
                f"{_without_secrets(error)}; its transaction counts as a whole or not at all, "
                "try again"
            )
        case _:
            return None


def denied(error: Exception) -> str | None:
    """Return which right Postgres says is lacking, with no address and no user; None if none is."""
    cause = error.__cause__
    return cause.diag.message_primary if isinstance(cause, InsufficientPrivilege) else None


def _granting(settings: DatabaseSettings, error: psycopg.Error) -> str:
    role = conninfo_to_dict(settings.dsn).get("user", "ROLE")
    if str(error).startswith("permission denied for function clock"):
        return f'run GRANT EXECUTE ON FUNCTION training.clock TO "{role}" as its owner'
    return (
        f"its owner has to grant that to {role}, the user of DATABASE_URL; of schema training, to "
        f"a process of ours, by `babylon-tasks migrate --grant-to {role}`"
    )


def _silence(settings: DatabaseSettings, chosen: float | None) -> float:
    return settings.database_timeout_seconds if chosen is None else chosen


def address(settings: DatabaseSettings) -> str:
    """Format host, port and database of DATABASE_URL, without user or password.

    Raises SettingsError where libpq cannot read it.
    """
    try:
        parts = conninfo_to_dict(settings.dsn)
    except psycopg.ProgrammingError:
        raise SettingsError(_FOREIGN) from None
    server = host_and_port(str(parts.get("host", "localhost")), str(parts.get("port", 5432)))
    return f"{server}/{parts.get('dbname', '')}"


def _without_secrets(error: psycopg.Error) -> str:
    # libpq's messages name host and user but never the password; keep the first line only.
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
