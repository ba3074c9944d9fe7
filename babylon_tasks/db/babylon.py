"""Babylon's own tables: which of them there are, and today's for a database that has none.

``trajectories`` is the one that is needed. Without any other, what would be read or written there
is left out, and said: an event, or a warning of `doctor`.
"""

from __future__ import annotations

from datetime import datetime
from importlib import resources

from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.sql import queries
from babylon_tasks.db.verify import is_migrated
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
    "Name Babylon's database, with ?schema= where its tables lie in another schema than public, "
    "and GRANT USAGE on that schema; or make Babylon's tables here, for a database of its own: "
    "`babylon-tasks migrate --create-babylon-tables`"
)


def tables(connection: Connection) -> frozenset[str]:
    """Those of ``TABLES`` that this user sees on the connection's search path."""
    rows = connection.execute(queries("babylon")["tables"], {"names": list(TABLES)}).fetchall()
    return frozenset(row[0] for row in rows)


def missing(connection: Connection, *names: str) -> list[str]:
    """Which of some of Babylon's tables there are not."""
    there = tables(connection)
    return [name for name in names if name not in there]


def strangers(connection: Connection, *, days: int) -> dict[str, tuple[int, datetime]]:
    """What others than our lineages have trained of late: how many, and the newest moment (UTC).

    Keys: ``batches``, ``models``, and ``trajectories`` marked as used; what there is none of is
    left out.
    """
    found, there = queries("babylon"), tables(connection)
    ours: list[str] = []
    if is_migrated(connection):
        ours = [row[0] for row in connection.execute(found["ours"]).fetchall()]
    about = {"days": days, "ours": ours}
    strange = {}
    for what, table, query in (
        ("batches", "training_batches", "strange_batches"),
        ("models", "trained_models", "strange_models"),
        ("trajectories", "trajectories", "strange_marks"),
    ):
        if table in there:
            count, newest = connection.execute(found[query], about).fetchone() or (0, None)
            if count:
                strange[what] = (count, newest)
    return strange


def absence(connection: Connection) -> str | None:
    """Why this database cannot be Babylon's, as far as its tables tell; None where it can."""
    there = tables(connection)
    if "trajectories" in there:
        return None
    row = connection.execute(queries("babylon")["place"]).fetchone()
    schemas = ", ".join(row[0]) if row is not None else ""
    info = connection.info
    held = f"{', '.join(sorted(there))} but no trajectories" if there else "no table of Babylon's"
    return (
        f"DATABASE_URL may be wrong: {info.host}:{info.port}/{info.dbname} holds {held} "
        f"(seen by {info.user} in schema {schemas or 'none'})"
    )


def require(connection: Connection) -> None:
    """Raise MigrationError where this database cannot be Babylon's."""
    wrong = absence(connection)
    if wrong is not None:
        raise MigrationError(f"{wrong}; nothing was created. {WITHOUT_TABLES}")


def create(settings: Settings) -> list[str]:
    """Make today's tables, all or none, where there is not one of them yet; those that were made.

    Raises DatabaseError.
    """
    with session(settings) as connection, connection.transaction():
        connection.execute(queries("migrations")["wait_for_turn"])
        if tables(connection):
            return []
        connection.execute(as_sql())
        return list(TABLES)


def as_sql() -> str:
    """The statements that make today's tables."""
    return resources.files("babylon_tasks.db").joinpath("babylon_tables.sql").read_text("utf-8")
