"""A Postgres that ends sessions and takes no writes, for tests of who outlives it."""

from __future__ import annotations

import threading
from typing import Any

from babylon_tasks.db.session import Connection


def end_sessions(connection: Connection) -> None:
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def read_only(connection: Connection, value: str) -> None:
    connection.execute("SET default_transaction_read_only = off")
    connection.execute(
        f"ALTER DATABASE {connection.info.dbname} SET default_transaction_read_only = {value}"  # type: ignore[arg-type]
    )


class Outage:
    """Postgres ends every session and takes no writes; ``seconds`` later it takes them again."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self._end: threading.Timer | None = None

    def begin(self, *_: Any) -> None:
        """Begin, unless it has begun before."""
        if self._end is not None:
            return
        read_only(self._connection, "on")
        end_sessions(self._connection)
        self._end = threading.Timer(self._seconds, read_only, (self._connection, "off"))
        self._end.start()

    def await_end(self) -> None:
        """Wait until Postgres takes writes."""
        assert self._end is not None, "it has begun"
        self._end.join()
