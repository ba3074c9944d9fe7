"""What statements cost inside Postgres, by the blocks that they read: ``auto_explain``'s log.

Whatever runs with ``explained(settings)`` is planned and run as ever, but each of its statements
leaves its plan in the server's log, from which ``Log.read`` takes blocks, time and scans.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
from msgspec import Struct
from pydantic import SecretStr

from babylon_tasks.db.sql import queries
from babylon_tasks.settings import Settings

_ENTRY = re.compile(r"duration: ([\d.]+) ms  plan:\n((?:\t.*\n)+)")
FEW = 200
_PLACES = re.compile(r"%\(\w+\)s|\$\d+")
_OPTIONS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
}


class Statement(Struct, frozen=True):
    """One run of a statement. ``whole``: the tables of which it has looked at most rows."""

    name: str
    ms: float
    blocks: int
    whole: tuple[str, ...]


def explained(settings: Settings) -> Settings:
    """Return settings whose sessions log their plans."""
    options = "%20".join(f"-c%20{name}={value}" for name, value in _OPTIONS.items())
    url = f"{settings.database_url.get_secret_value()}?options={options}"
    return settings.model_copy(update={"database_url": SecretStr(url)})


class Log:
    """The server's log, read from where it ended last; ``rows``: how many each table has."""

    def __init__(self, path: Path, rows: dict[str, int]) -> None:
        self._path = path
        self._rows = rows
        self._names = names()
        self._offset = path.stat().st_size

    def read(self) -> list[Statement]:
        """Return the statements logged since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read().decode()
            self._offset = file.tell()
        return [self._statement(*found) for found in _ENTRY.findall(text)]

    def _statement(self, ms: str, text: str) -> Statement:
        entry = json.loads(text)
        plan = entry["Plan"]
        blocks = plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0)
        name = self._names.get(bare(entry["Query Text"]), entry["Query Text"][:60])
        whole = tuple(sorted(set(read_whole(plan, self._rows))))
        return Statement(name, float(ms), blocks, whole)


def read_whole(plan: dict[str, Any], rows: dict[str, int]) -> Iterator[str]:
    """Name the tables of which a plan, as it was run, has looked at most rows.

    ``rows``: how many each table has; those of fewer than ``FEW`` may be read.
    """
    for node in nodes(plan):
        table = node.get("Relation Name")
        removed = (value for key, value in node.items() if key.startswith("Rows Removed by"))
        seen = (node["Actual Rows"] + sum(removed)) * node["Actual Loops"]
        if table is not None and seen > max(FEW, rows.get(table, 0)) / 2:
            yield table


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """List a plan's node and all below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def table_rows(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Count the rows of each table, as Postgres estimates them."""
    found = connection.execute(
        "SELECT relname, reltuples::bigint FROM pg_class WHERE relkind IN ('r', 'p')"
    )
    return dict(found.fetchall())


def names() -> dict[str, str]:
    """Map the text of each statement, as ``bare`` leaves it, to its name."""
    folder = resources.files("babylon_tasks.db").joinpath("queries")
    nouns = [Path(file.name).stem for file in folder.iterdir()]
    return {bare(text): f"{noun}.{verb}" for noun in nouns for verb, text in queries(noun).items()}


def bare(text: str) -> str:
    """Return a statement without its parameters, as both psycopg and Postgres write it."""
    return " ".join(_PLACES.sub("$", text.replace("%%", "%")).split())
