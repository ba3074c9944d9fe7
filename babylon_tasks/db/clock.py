"""Postgres's clock, the only one that decides: workers' clocks are never used."""

from __future__ import annotations

from datetime import datetime

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_value


def now(connection: Connection) -> datetime:
    """Read Postgres's time."""
    moment = fetch_value(connection, "clock.now", datetime)
    assert moment is not None  # noqa: S101  # a SELECT without FROM always has a row
    return moment


def of_hours(connection: Connection) -> datetime:
    """Read the time by which hours begin: Postgres's, but in a sandbox that plays them faster."""
    moment = fetch_value(connection, "clock.of_hours", datetime)
    assert moment is not None  # noqa: S101  # a SELECT without FROM always has a row
    return moment
