"""A connection to Postgres none of whose waits is unbounded, whatever the network does."""

from __future__ import annotations

import os
import weakref
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db.system_authorities import system_authorities

CONNECT_SECONDS = 5
_LOCK_SECONDS = 30
# For the kernel, which notices a dead peer where nothing in between acknowledges for it.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_UNACKNOWLEDGED_SECONDS = 25
# For the server: how often it looks whether the client of a running statement has gone.
_CLIENT_CHECK_SECONDS = 5


class BoundedConnection(psycopg.Connection[TupleRow]):
    """Raises ``psycopg.errors.ConnectionTimeout`` and closes when the server is silent too long.

    Keepalives alone do not do: a load balancer or pooler between us and a server that has failed
    over acknowledges them for ever. A wait on a lock counts as silence, and so
    does a long computation: ``silence``, in seconds, is to be longer than either.
    """

    silence = 60.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait as psycopg does, at most ``silence`` seconds, for the server's next answer."""
        try:
            return super().wait(gen, interval, self.silence if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            # Its state is unknown; ending it cleanly would need an answer from the server.
            self.pgconn.finish()
            raise psycopg.errors.ConnectionTimeout(f"no answer within {self.silence:g} s") from None


def open_connection(
    settings: DatabaseSettings, *, autocommit: bool, silence: float
) -> BoundedConnection:
    """Connect once; raises psycopg's errors. ``silence`` as in ``BoundedConnection``."""
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
    connection = BoundedConnection.connect(
        settings.dsn,
        autocommit=autocommit,
        options=" ".join(f"-c {name}={value}" for name, value in _options(settings).items()),
        **{name: value for name, value in parameters.items() if name not in chosen},  # type: ignore[arg-type]  # psycopg names each
    )
    connection.silence = silence
    _open.add(connection)
    return connection


def _options(settings: DatabaseSettings) -> dict[str, str | int]:
    milliseconds = int(1000 * settings.database_timeout_seconds)
    return {
        # Babylon's timestamps have no zone and mean UTC.
        "timezone": "UTC",
        "search_path": settings.database_schema,
        "lock_timeout": f"{min(1000 * _LOCK_SECONDS, milliseconds // 2)}ms",
        # Ends the locks of a client that hangs, or that the network has separated.
        "idle_in_transaction_session_timeout": f"{2 * milliseconds}ms",
        "client_connection_check_interval": f"{_CLIENT_CHECK_SECONDS}s",
        **{f"tcp_{name}": value for name, value in _KEEPALIVES.items()},
    }


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
