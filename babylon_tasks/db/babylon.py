"""Babylon's own tables: which of them exist, and how to create today's in a database without any.

Only ``trajectories`` is required. If another one is missing, reads and writes of it are left out,
and an event or a warning of `doctor` reports it.
"""

from __future__ import annotations

from datetime import datetime
from importlib import resources

from msgspec import Struct

from babylon_tasks.db.data_report import is_migrated
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.sql import execute, fetch_one, fetch_value, fetch_values
from babylon_tasks.errors import MigrationError
from babylon_tasks.settings import Settings

TABLES = (
    "trajectories",
    "market_outcomes",
    "llm_call_logs",
    "trained_models",
    "training_batches",
    "reward_judgments",
)

WITHOUT_TABLES = (
    "Name Babylon's database, with ?schema= if its tables are in another schema than public, "
    "and GRANT USAGE on that schema; or create Babylon's tables here, for a separate database: "
    "`babylon-tasks migrate --create-babylon-tables`"
)


class OtherTrainers(Struct, frozen=True):
    """How much other trainers have written, and the time of the newest (UTC, without a zone)."""

    count: int
    newest: datetime | None


class UnnamedRows(Struct, frozen=True):
    """How many rows name no window; ``indexed``: they can be found by their start."""

    count: int
    indexed: bool


def tables(connection: Connection) -> frozenset[str]:
    """List those of ``TABLES`` that this user sees on the connection's search path."""
    return frozenset(fetch_values(connection, "babylon.tables", str, names=list(TABLES)))


def missing(connection: Connection, *names: str) -> list[str]:
    """List those of ``names`` that do not exist."""
    there = tables(connection)
    return [name for name in names if name not in there]


def trained_by_others(connection: Connection, *, days: int) -> dict[str, OtherTrainers]:
    """Count what other trainers have written in the last ``days``.

    Keys: ``batches``, ``models``, and ``trajectories`` marked as used; without entry where 0.
    """
    there = tables(connection)
    ours = fetch_values(connection, "babylon.ours", str) if is_migrated(connection) else []
    others = {}
    for what, table, query in (
        ("batches", "training_batches", "babylon.batches_of_others"),
        ("models", "trained_models", "babylon.models_of_others"),
        ("trajectories", "trajectories", "babylon.marks_of_others"),
    ):
        if table in there:
            found = fetch_one(connection, query, OtherTrainers, days=days, ours=ours)
            if found is not None and found.count:
                others[what] = found
    return others


def unnamed_rows(connection: Connection, most: int) -> UnnamedRows:
    """Count the rows that name no window, up to ``most``."""
    found = fetch_one(connection, "babylon.unnamed_rows", UnnamedRows, most=most)
    assert found is not None  # noqa: S101  # a count
    return found


def absence(connection: Connection) -> str | None:
    """Return why this database cannot be Babylon's, judging by its tables; None where it can."""
    there = tables(connection)
    if "trajectories" in there:
        return None
    schemas = ", ".join(fetch_value(connection, "babylon.place", list[str]) or ())
    info = connection.info
    contents = (
        f"{', '.join(sorted(there))} but no trajectories" if there else "no table of Babylon's"
    )
    return (
        f"DATABASE_URL may be wrong: {info.host}:{info.port}/{info.dbname} has {contents} "
        f"(seen by {info.user} in schema {schemas or 'none'})"
    )


def require(connection: Connection) -> None:
    """Raise MigrationError where this database cannot be Babylon's."""
    wrong = absence(connection)
    if wrong is not None:
        raise MigrationError(f"{wrong}; nothing was created. {WITHOUT_TABLES}")


def create(settings: Settings) -> list[str]:
    """Create today's tables, all or none, where none exists; returns those that were created.

    Raises DatabaseError.
    """
    with session(settings) as connection, connection.transaction():
        execute(connection, "migrations.wait_for_turn")
        if tables(connection):
            return []
        connection.execute(as_sql())
        return list(TABLES)


def as_sql() -> str:
    """Return the statements that create today's tables."""
    return resources.files("babylon_tasks.db").joinpath("babylon_tables.sql").read_text("utf-8")
