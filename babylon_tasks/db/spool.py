"""Rows for one COPY: some thousands in memory, the rest in a temporary file.

Collected first and written at the end, the rows of an unfinished run are never in the database,
so a run that lost its claim cannot make its successor wait on a unique index.
"""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Generic, Self

import msgspec
from msgspec import structs

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import Row, copy_statement

_ROWS = 10_000  # in memory: most windows have fewer, and writing them out and back costs
_IN_MEMORY = 4_000_000


class Spool(Generic[Row]):
    """Structs of one type, in the order of adding; use as a context manager."""

    def __init__(self, row: type[Row], **constants: str | int) -> None:
        """``constants`` are columns with the same value in every row."""
        self._constants = constants
        self._columns = (*row.__struct_fields__, *constants)
        self._decode = msgspec.json.Decoder(row).decode
        self._pending: list[Row] = []
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed by __exit__

    def add(self, row: Row) -> None:
        """Add one row."""
        self._pending.append(row)
        if len(self._pending) >= _ROWS:
            self._file.write(msgspec.json.Encoder().encode_lines(self._pending))
            self._pending.clear()

    def copy_into(self, connection: Connection, name: str) -> None:
        """Write all rows by the named COPY, in the caller's transaction.

        The struct's fields and the constants are the names of the columns, in any order.
        """
        constants = tuple(self._constants.values())
        statement = copy_statement(name, self._columns)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in self:
                copy.write_row((*structs.astuple(row), *constants))

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows; none may be added meanwhile."""
        self._file.seek(0)
        yield from map(self._decode, self._file)
        yield from self._pending

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
