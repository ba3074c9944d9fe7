"""The rows of contracts/today_rows.sql, for a database of either contract."""

from __future__ import annotations

import re
from pathlib import Path

from psycopg import sql

from babylon_tasks.db.session import Connection

ROWS = Path(__file__).parent / "contracts/today_rows.sql"
# At 7a46248b every agent was a row of "User"; today NPCs are none.
NPCS = ("npc-1", "npc-2")
HOURS = ("2026-11-25T16:00", "2026-11-25T17:00", "2026-11-25T18:00")
_BLOCK = re.compile(r'^COPY "?(\w+)"? \((.*?)\) FROM stdin;\n(.*?)^\\\.$', re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, list[dict[str, str]]]]:
    """The rows of each table, by column, as text."""
    found = []
    for table, listed, rows in _BLOCK.findall(ROWS.read_text("utf-8")):
        named = [column.strip().strip('"') for column in listed.split(",")]
        rows = [dict(zip(named, row.split("\t"), strict=True)) for row in rows.splitlines()]
        found.append((table, rows))
    return found


def load(connection: Connection) -> None:
    """Load every row, without the columns that the database's contract does not know."""
    for table, listed, rows in _BLOCK.findall(ROWS.read_text("utf-8")):
        named = [column.strip().strip('"') for column in listed.split(",")]
        found = connection.execute(
            "SELECT column_name, is_nullable = 'NO' AND column_default IS NULL"
            " FROM information_schema.columns WHERE table_name = %s",
            (table,),
        ).fetchall()
        known = dict(found)
        kept = [number for number, name in enumerate(named) if name in known]
        # A required column that today's contract no longer has (User.updatedAt) is given a time.
        lacking = [name for name, required in found if required and name not in named]
        columns = [*(named[number] for number in kept), *lacking]
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows.splitlines():
                fields = row.split("\t")
                values = [*(fields[number] for number in kept), *(["2026-11-25"] * len(lacking))]
                copy.write("\t".join(values) + "\n")
        if table == "User" and lacking:
            for name in NPCS:
                connection.execute(
                    'INSERT INTO "User" (id, "updatedAt") VALUES (%s, now())', (name,)
                )
