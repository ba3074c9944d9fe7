"""Statements by name, from ``queries/<noun>.sql`` files, and what they return by type.

A file is a run of blocks: a line ``-- name: verb_noun``, one line of English as a comment,
then the statement. ``statement("open_and_seal.seal")`` is its text. What several statements have
in common is a block of its own, ``-- part: name``, and ``{{noun.name}}`` in each of them.

    fetch_one(connection, "windows.get", Window, window="2026-01-31T09:00")   # Window | None
    fetch_value(connection, "clock.now", datetime)                            # datetime | None

A row becomes a struct by the names of its columns, and each value is checked against the field's
type: text becomes an enum's member, and NULL where the field allows none is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar, cast

import msgspec
from psycopg import Cursor, sql
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from babylon_tasks.errors import DatabaseError
from babylon_tasks.faults import Fault

if TYPE_CHECKING:  # it runs statements from here
    from babylon_tasks.db.session import Connection

_HEADER = re.compile(r"^-- (name|part): (\w+)\s*$", re.MULTILINE)
_PART = re.compile(r"\{\{(\w+)\.(\w+)\}\}")

Row = TypeVar("Row", bound=msgspec.Struct)
Value = TypeVar("Value")
Key = TypeVar("Key")


@cache
def queries(noun: str) -> dict[str, LiteralString]:
    """Read all statements of ``queries/<noun>.sql``, with their parts in place.

    Raises FileNotFoundError, ValueError, or KeyError for a part that does not exist.
    """
    return {name: _PART.sub(_part, text) for name, text in _blocks(noun)["name"].items()}


def statement(name: str) -> LiteralString:
    """Return the text of ``noun.verb``; raises FileNotFoundError or KeyError."""
    noun, _, verb = name.partition(".")
    return queries(noun)[verb]


def fetch_one(
    connection: Connection, name: str, row: type[Row], /, **parameters: object
) -> Row | None:
    """Return the first row, or None; raises DatabaseError for a value of another type."""
    with connection.cursor(row_factory=_struct(name, row)) as cursor:
        return cursor.execute(statement(name), parameters or None).fetchone()


def fetch_all(
    connection: Connection, name: str, row: type[Row], /, **parameters: object
) -> list[Row]:
    """Return all rows; raises DatabaseError for a value of another type."""
    with connection.cursor(row_factory=_struct(name, row)) as cursor:
        return cursor.execute(statement(name), parameters or None).fetchall()


def fetch_value(
    connection: Connection, name: str, kind: type[Value], /, **parameters: object
) -> Value | None:
    """Return the only column of the first row; None for no row, and for NULL."""
    row = _tuples(connection, name, parameters).fetchone()
    if row is None:
        return None
    (value,) = row
    return None if value is None else _converted(name, value, kind)


def fetch_values(
    connection: Connection, name: str, kind: type[Value], /, **parameters: object
) -> list[Value]:
    """Return the only column of all rows."""
    return [_converted(name, value, kind) for (value,) in _tuples(connection, name, parameters)]


def fetch_pairs(
    connection: Connection, name: str, key: type[Key], value: type[Value], /, **parameters: object
) -> dict[Key, Value]:
    """Return two columns as a dict in the order of the rows; the first has no duplicates."""
    return {
        _converted(name, one, key): _converted(name, other, value)
        for one, other in _tuples(connection, name, parameters)
    }


def execute(connection: Connection, name: str, /, **parameters: object) -> int:
    """Run a statement; returns the number of rows that it changed."""
    return connection.execute(statement(name), parameters or None).rowcount


def recordset(rows: Sequence[msgspec.Struct]) -> Jsonb:
    """Return structs for ``jsonb_to_recordset``, which pairs values with columns by name."""
    return Jsonb(rows, dumps=msgspec.json.encode)


def copy_statement(name: str, columns: Iterable[str]) -> sql.Composed:
    """Return a COPY with these columns in the place of its ``{columns}``.

    COPY pairs values by position alone: the names that the caller pairs them by go into it.
    """
    return sql.SQL(statement(name)).format(columns=sql.SQL(", ").join(map(sql.Identifier, columns)))


def parse(text: str, origin: str) -> dict[str, dict[str, LiteralString]]:
    """Split a query file into its ``name`` and its ``part`` blocks.

    Raises ValueError on a name used twice.
    """
    _, *fields = _HEADER.split(text)
    kinds, names, bodies = fields[::3], fields[1::3], fields[2::3]
    if len(set(names)) != len(names):
        raise ValueError(f"{origin} names a statement twice: {sorted(names)}")
    found: dict[str, dict[str, LiteralString]] = {"name": {}, "part": {}}
    for kind, name, body in zip(kinds, names, bodies, strict=True):
        # The files ship with the package, so their text is as trusted as a literal of the code.
        found[kind][name] = cast("LiteralString", body.strip())
    return found


@cache
def _blocks(noun: str) -> dict[str, dict[str, LiteralString]]:
    path = resources.files("babylon_tasks.db").joinpath("queries", f"{noun}.sql")
    return parse(path.read_text("utf-8"), str(path))


def _part(reference: re.Match[str]) -> LiteralString:
    noun, name = reference.groups()
    _, _, text = _blocks(noun)["part"][name].partition("\n")  # without its line of English
    return _PART.sub(_part, text)


def _struct(name: str, row: type[Row]) -> Callable[[Cursor[Any]], Callable[[Sequence[Any]], Row]]:
    def factory(cursor: Cursor[Any]) -> Callable[[Sequence[Any]], Row]:
        columns = [column.name for column in cursor.description or ()]
        # msgspec ignores what a struct lacks: a misspelt alias would leave the default.
        unknown = sorted(set(columns) - set(row.__struct_fields__))
        if unknown:
            raise TypeError(f"{name} selects {', '.join(unknown)}, which {row.__name__} lacks")
        return lambda values: _converted(name, dict(zip(columns, values, strict=True)), row)

    return factory


def _tuples(
    connection: Connection, name: str, parameters: dict[str, object]
) -> Cursor[tuple[Any, ...]]:
    cursor = connection.cursor(row_factory=tuple_row)
    return cursor.execute(statement(name), parameters or None)


def _converted(name: str, value: object, kind: type[Value]) -> Value:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise DatabaseError(
            f"statement {name} returned what this version does not expect: {error}; run "
            "`babylon-tasks migrate --status` to check that database and code match",
            fault=Fault.SCHEMA,
        ) from None
