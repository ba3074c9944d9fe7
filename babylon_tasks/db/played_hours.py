"""Hours of a game, in a database of a sandbox's own: by Postgres's clock the played one has begun.

The gateway draws arms for the hour that it is by this clock, and a comparison begins with the next
one; leases go by the machine's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from psycopg import sql

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_value, statement
from babylon_tasks.windows import window_start


def begin(connection: Connection, window: str) -> None:
    """Let an hour begin, for all who use this database."""
    ahead = window_start(window) + timedelta(seconds=1) - datetime.now(UTC)
    begun = sql.SQL(statement("played_hours.begin"))
    connection.execute(begun.format(ahead=sql.Literal(ahead.total_seconds())))


def captured(connection: Connection, window: str) -> int:
    """Count the answers of an hour that the gateway has written."""
    return fetch_value(connection, "played_hours.captured", int, window=window) or 0
