"""Open a connection to Postgres: waits bounded at both ends, the values that we rely on set."""

from __future__ import annotations

import os
import weakref
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db.bounded_connection import BoundedConnection
from babylon_tasks.db.pooled_connection import PooledConnection, PooledCursor
from babylon_tasks.db.session_values import session_values
from babylon_tasks.db.system_authorities import system_authorities

CONNECT_SECONDS = 5
# For the kernel, which notices a dead peer where nothing in between acknowledges for it.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_UNACKNOWLEDGED_SECONDS = 25
_PREPARED_AFTER = 5  # uses of a statement: psycopg's default


def open_connection(settings: DatabaseSettings, *, silence: float) -> BoundedConnection:
    """Connect once, in autocommit mode; raises psycopg's errors.

    ``silence`` as in ``BoundedConnection``.
    """
    chosen = conninfo_to_dict(settings.dsn)
    parameters = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives": 1,
        **_KEEPALIVES,
        "tcp_user_timeout": 1000 * _UNACKNOWLEDGED_SECONDS,
        # A database of encoding SQL_ASCII would return bytes instead of text.
        "client_encoding": "utf8",
        "application_name": "babylon-tasks",
    }
    if chosen.get("sslrootcert") == "system":
        del chosen["sslrootcert"]
        parameters["sslrootcert"] = system_authorities()
    arguments = {name: value for name, value in parameters.items() if name not in chosen}
    if settings.pooled:
        connection: BoundedConnection = _pooled(settings, arguments)
    else:
        connection = _own(settings, arguments, chosen.get("options"))
    connection.silence = silence
    _open.add(connection)
    return connection


def _own(
    settings: DatabaseSettings, arguments: dict[str, Any], given: str | int | None
) -> BoundedConnection:
    """Connect to a server session that is ours; ``given``: the options of DATABASE_URL."""
    options = session_values(settings) | {
        f"tcp_{name}": str(value) for name, value in _KEEPALIVES.items()
    }
    statements = settings.prepared_statements
    connection = BoundedConnection.connect(
        settings.dsn,
        autocommit=True,
        prepare_threshold=None if statements == 0 else _PREPARED_AFTER,
        # After those of DATABASE_URL, which apply to all else.
        options=" ".join(
            (str(given or ""), *(f"-c {name}={value}" for name, value in options.items()))
        ),
        **arguments,
    )
    if statements is not None:
        connection.prepared_max = statements
    return connection


def _pooled(settings: DatabaseSettings, arguments: dict[str, Any]) -> PooledConnection:
    connection = PooledConnection.connect(
        settings.dsn,
        autocommit=True,
        prepare_threshold=None,
        cursor_factory=PooledCursor,
        **arguments,
    )
    connection.values = session_values(settings)
    return connection


_open: weakref.WeakSet[BoundedConnection] = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    # A child that closed an inherited connection would end its parent's session.
    null = os.open(os.devnull, os.O_RDWR)
    for connection in list(_open):
        if not connection.closed:
            os.dup2(null, connection.fileno())
            connection.close()
    os.close(null)


os.register_at_fork(after_in_child=_leave_to_the_parent)
