"""Rows for one COPY: a few megabytes in memory, the rest in a temporary file.

Collected first and written at the end, the rows of an unfinished run are never in the database,
so a run that lost its claim cannot make its successor wait on a unique index.
"""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import LiteralString, Self

from babylon_tasks.db.session import Connection

_IN_MEMORY = 4_000_000
_CHUNK = 256 * 1024
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Spool:
    """Lines in COPY's text format; use as a context manager."""

    def __init__(self, *constants: str | int) -> None:
        """``constants`` are the last columns of every row."""
        self.rows = 0
        self._pending: list[str] = []
        self._tail = "".join(f"\t{field(str(constant))}" for constant in constants) + "\n"
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed by __exit__

    def add(self, columns: str) -> None:
        """Add one row: its leading columns, tab-separated; text columns are made by ``field``."""
        self._pending.append(columns)
        self.rows += 1
        if len(self._pending) >= 1000:
            self._spill()

    def copy_into(self, connection: Connection, statement: LiteralString) -> None:
        """Write all rows with one COPY, in the caller's transaction."""
        self._spill()
        self._file.seek(0)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            while chunk := self._file.read(_CHUNK):
                copy.write(chunk)

    def lines(self) -> Iterator[str]:
        """Yield the rows in the order of adding, constants included, without line ends."""
        self._spill()
        self._file.seek(0)
        for line in self._file:
            yield line.decode()[:-1]

    def _spill(self) -> None:
        if self._pending:
            tail = self._tail
            self._file.write((tail.join(self._pending) + tail).encode())
            self._pending.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def field(text: str | None) -> str:
    """Escape text for COPY; None is NULL."""
    if text is None:
        return "\\N"
    # The only printable character that COPY treats specially is the backslash.
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)
