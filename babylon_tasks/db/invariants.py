"""What must be true at any moment, whatever failed: ``queries/invariants.sql``, one SELECT each.

Each SELECT lists what violates it. ``doctor --invariants`` and the tests of faults run them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct
from psycopg import IsolationLevel

from babylon_tasks.db.late_rows import LATE_WINDOWS
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, queries
from babylon_tasks.db.unopened_windows import BAD_IDS
from babylon_tasks.settings import Settings


class BrokenInvariant(Struct, frozen=True):
    """Something that must not be; ``window`` is None where it concerns a lineage."""

    invariant: str
    window: str | None
    what: str


class _Found(Struct, frozen=True):
    window: str | None
    what: str


def names() -> list[str]:
    """List the invariants."""
    return list(queries("invariants"))


def violations(
    connection: Connection, settings: Settings, *, at_rest: bool = False
) -> list[BrokenInvariant]:
    """Check all invariants in one snapshot of the database; reads whole tables.

    Rows that came after the last look for late rows, or the last survey of window ids, are waited
    for, by Postgres's clock and snapshots; with ``at_rest`` no row is.
    """
    patience = 0.0 if at_rest else patience_seconds(settings)
    parameters: dict[str, dict[str, object]] = {
        "unaccounted_rows": {"hours": settings.lookback_hours, "patience": patience},
        "rows_without_window": {"patience": patience, "at_rest": at_rest, "bad_ids": BAD_IDS},
    }
    with _one_snapshot(connection):
        return [
            BrokenInvariant(name, found.window, found.what)
            for name in names()
            for found in fetch_all(
                connection, f"invariants.{name}", _Found, **parameters.get(name, {})
            )
        ]


@contextmanager
def _one_snapshot(connection: Connection) -> Iterator[None]:
    # Said with BEGIN: behind a pooler SET TRANSACTION would come after the transaction's values.
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with connection.transaction():
            yield
    finally:
        if not connection.closed:
            connection.isolation_level, connection.read_only = None, None


def patience_seconds(settings: Settings) -> float:
    """Return how long a row may wait for `reconcile` to look at its recently scored window.

    A window is looked at each ``grace_seconds``, ``LATE_WINDOWS`` of them in one call.
    """
    calls = settings.lookback_hours / LATE_WINDOWS + 2
    return settings.grace_seconds + calls * settings.upkeep_interval_seconds
