"""Apply ``migrations/NNNN_words.sql`` in order, once each, however many pods try at once.

Each file runs in one transaction with its row in ``training.migrations``, so a file must not
contain BEGIN, COMMIT or statements that refuse a transaction (CREATE INDEX CONCURRENTLY).
An applied file is never edited: its checksum is stored. To change something, add a file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Literal

import psycopg
from msgspec import Struct
from psycopg import sql

from babylon_tasks.db import babylon
from babylon_tasks.db.session import LONG_SECONDS, Connection, address, session
from babylon_tasks.db.sql import execute, fetch_all, fetch_value, queries
from babylon_tasks.errors import MigrationError
from babylon_tasks.settings import Settings

_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
# Created Babylon's tables in 0.1.0; ledgers may still have it, and nothing depends on it.
_RETIRED = frozenset({"0001_babylon_tables"})


@dataclass(frozen=True)
class Migration:
    """One file; ``checksum`` is the SHA-256 of its text."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """The value in the ledger, to notice a file edited after it was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True)
class MigrationStatus:
    """The state of one migration; ``unknown``: applied here by newer code than this."""

    name: str
    state: Literal["applied", "pending", "changed", "unknown"]
    applied_at: datetime | None = None


class _Applied(Struct, frozen=True):
    """A row of the ledger."""

    name: str
    checksum: str
    applied_at: datetime


@cache
def migrations() -> tuple[Migration, ...]:
    """All files in order; raises MigrationError on a bad name or a number used twice."""
    # A link to the repository's top-level folder; in a wheel, the files themselves.
    folder = resources.files("babylon_tasks.db").joinpath("migrations")
    return parse({file.name: file.read_text("utf-8") for file in folder.iterdir()})


def parse(files: dict[str, str]) -> tuple[Migration, ...]:
    """Parse file names and texts to migrations in order; raises MigrationError."""
    numbers: dict[str, str] = {}
    for name in sorted(files):
        matched = _FILE.fullmatch(name)
        if matched is None:
            raise MigrationError(f"migrations/{name}: rename it to NNNN_words.sql, lower case")
        if matched[1] in numbers:
            raise MigrationError(
                f"migrations/{name} and {numbers[matched[1]]} share a number: renumber the newer"
            )
        numbers[matched[1]] = name
    if not files:
        raise MigrationError("this installation has no migrations: reinstall babylon-tasks")
    return tuple(Migration(name.removesuffix(".sql"), files[name]) for name in sorted(files))


def status(
    connection: Connection, known: Sequence[Migration] | None = None
) -> list[MigrationStatus]:
    """List every migration, of this code or only of the ledger, in order; writes nothing."""
    files = {migration.name: migration for migration in known or migrations()}
    ledger = _ledger(connection)
    result = []
    for name in sorted({*files, *ledger} - _RETIRED):
        if name not in ledger:
            result.append(MigrationStatus(name, "pending"))
            continue
        applied = ledger[name]
        state: Literal["applied", "changed", "unknown"] = (
            "unknown"
            if name not in files
            else "applied"
            if files[name].checksum == applied.checksum
            else "changed"
        )
        result.append(MigrationStatus(name, state, applied.applied_at))
    return result


def pending(connection: Connection) -> list[str]:
    """List pending migrations, in order; raises MigrationError if an applied file changed."""
    entries = status(connection)
    _refuse_changed(entries)
    return [entry.name for entry in entries if entry.state == "pending"]


def check(connection: Connection) -> None:
    """Raise MigrationError unless this is a Babylon database with every migration, unchanged."""
    babylon.require(connection)
    missing = pending(connection)
    if missing:
        raise MigrationError(
            f"the database's schema is behind this code: {', '.join(missing)} not applied; "
            "run `babylon-tasks migrate`"
        )


def apply(
    settings: Settings,
    *,
    known: Sequence[Migration] | None = None,
    patience: float = 60,
    grant_to: str | None = None,
) -> list[str]:
    """Apply what is pending, return the names; raises MigrationError, keeping whole files only.

    Refuses a database without Babylon's tables, and creates nothing there.
    ``patience``: seconds to wait for another runner, or for a table that is in use.
    ``grant_to``: the role that works in the schema, if it is not the one that migrates.
    """
    done: list[str] = []
    with session(settings, silence=LONG_SECONDS) as connection:
        babylon.require(connection)
        for migration in known or migrations():
            try:
                with connection.transaction():
                    if _apply_one(connection, migration, known, patience):
                        done.append(migration.name)
            except psycopg.errors.LockNotAvailable as error:
                raise MigrationError(
                    f"migration {migration.name} waited {patience:g} s at {address(settings)} for "
                    "another runner or a table in use, gave up and was undone; see pg_locks for "
                    "the lock's owner, then run `babylon-tasks migrate` again"
                ) from error
            except psycopg.Error as error:
                if connection.broken:
                    raise  # the connection was lost: session() reports it
                raise MigrationError(
                    f"migration {migration.name} failed at {address(settings)} and was undone: "
                    f"{str(error).strip()}"
                ) from error
        if grant_to is not None:
            try:
                with connection.transaction():
                    connection.execute(_granting(grant_to))
            except psycopg.errors.ProgrammingError as error:
                raise MigrationError(
                    f"the schema is up to date, but role {grant_to} got no rights on it: "
                    f"{str(error).strip()}; run this as the owner of the schema training"
                ) from error
    return done


def as_sql(
    known: Sequence[Migration] | None = None,
    *,
    create_babylon_tables: bool = False,
    grant_to: str | None = None,
) -> str:
    """Write all migrations as a script for psql, for a DBA to review; safe to run twice.

    It stops at a database without Babylon's tables, or creates them there. ``grant_to``: the role
    that works in the schema; without it only the role that runs the script has any right.
    """
    own, script = queries("migrations"), queries("psql")
    values = {**own, "sql": babylon.as_sql().rstrip()}
    names = ("create_babylon" if create_babylon_tables else "require_babylon", "head")
    parts = [_filled(script[name], values) for name in ("open", *names)]
    for migration in known or migrations():
        # Names and checksums contain only [a-z0-9_]: they need no quoting.
        values = {
            "name": migration.name,
            "checksum": migration.checksum,
            "sql": migration.sql.rstrip(),
        }
        parts.append(f"-- {migration.name}\n{_filled(script['each'], {**own, **values})}")
    if grant_to is not None:
        parts.append(_filled(script["rights"], {"grant": _granting(grant_to)}))
    return "\n\n".join(parts) + "\n"


def _granting(role: str) -> str:
    return _filled(queries("migrations")["grant"], {"role": sql.Identifier(role).as_string()})


def _filled(template: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template)


def _apply_one(
    connection: Connection,
    migration: Migration,
    known: Sequence[Migration] | None,
    patience: float,
) -> bool:
    execute(connection, "migrations.bound_waits", milliseconds=int(patience * 1000))
    execute(connection, "migrations.wait_for_turn")
    if not _has_ledger(connection):  # IF NOT EXISTS requires the right to create a schema even so
        execute(connection, "migrations.create_ledger")
    found = status(connection, known)
    _refuse_changed(found)
    if migration.name not in [entry.name for entry in found if entry.state == "pending"]:
        return False
    connection.execute(migration.sql)
    execute(connection, "migrations.record", name=migration.name, checksum=migration.checksum)
    return True


def _ledger(connection: Connection) -> dict[str, _Applied]:
    if not _has_ledger(connection):
        return {}
    return {row.name: row for row in fetch_all(connection, "migrations.ledger", _Applied)}


def _has_ledger(connection: Connection) -> bool:
    return bool(fetch_value(connection, "migrations.has_ledger", bool))


def _refuse_changed(entries: Sequence[MigrationStatus]) -> None:
    changed = [entry.name for entry in entries if entry.state == "changed"]
    if changed:
        raise MigrationError(
            f"migrations/{changed[0]}.sql is not what was applied to this database: restore the "
            "file and put the change into a new one"
        )
