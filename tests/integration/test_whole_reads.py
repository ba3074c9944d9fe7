"""No statement that runs each minute, for each window, or for a command that reads looks at most
rows of a table that grows: each that runs is explained, with its values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from babylon_tasks.db import session as sessions
from babylon_tasks.db.connection import open_connection
from babylon_tasks.db.kept_connections import kept
from babylon_tasks.settings import Settings
from bench.big_actions import actions
from bench.big_rows import Filled, Size, insert_rows
from bench.statement_costs import bare, names, read_whole, table_rows

pytestmark = pytest.mark.contract("today")

SIZE = Size(trajectories=4000, hours=400, steps=300)
OUTCOMES_EACH = 8
EXPLAIN = "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, FORMAT json) "
# What looks at most rows of tables, all the same, and why.
ALLOWED: dict[str, tuple[str, set[str]]] = {}


class Looks:
    """Which statements ran, and the tables of which each has looked at most rows."""

    def __init__(self, rows: dict[str, int]) -> None:
        self._rows = rows
        self._names = names()
        self.ran: set[str] = set()
        self.whole: dict[str, set[str]] = defaultdict(set)

    def name(self, query: object) -> str | None:
        return self._names.get(bare(query)) if isinstance(query, str) else None

    def explain(self, cursor: psycopg.Cursor[Any], name: str, query: str, values: Any) -> None:
        """Run a statement for its plan alone; indexes are preferred, as on large tables."""
        connection = cursor.connection
        with connection.transaction(force_rollback=True):
            plain = psycopg.Cursor(connection)
            plain.execute("SET LOCAL enable_seqscan = off")
            row = plain.execute(EXPLAIN + query, values).fetchone()  # type: ignore[arg-type]
        assert row is not None
        self.ran.add(name)
        found = set(read_whole(row[0][0]["Plan"], self._rows))
        if found:
            self.whole[name] |= found


def watching(looks: Looks) -> type[psycopg.Cursor[Any]]:
    """A cursor that explains what it runs."""

    class Watching(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            name = looks.name(query)
            if name is not None:
                looks.explain(self, name, query, params)
            return super().execute(query, params, **options)

        def copy(self, statement: Any, params: Any = None, **options: Any) -> Any:
            text = statement.as_string(self) if isinstance(statement, sql.Composed) else ""
            inner, to, _ = text.partition("COPY (")[2].rpartition(") TO STDOUT")
            if to:
                looks.explain(self, "trajectories.copy_window", inner, params)
            return super().copy(statement, params, **options)

    return Watching


@pytest.fixture
def filled(make_settings: Callable[..., Settings]) -> Filled:
    return insert_rows(make_settings(), SIZE, markets=OUTCOMES_EACH)


@pytest.fixture
def looks(
    make_settings: Callable[..., Settings], filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Looks]:
    with psycopg.connect(make_settings().database_url.get_secret_value()) as connection:
        found = Looks(table_rows(connection))

    def opened(*arguments: Any, **options: Any) -> Any:
        connection = open_connection(*arguments, **options)
        connection.cursor_factory = watching(found)
        return connection

    kept.close()
    monkeypatch.setattr(sessions, "open_connection", opened)
    yield found
    kept.close()


def test_nothing_looks_at_most_rows_of_what_grows(
    make_settings: Callable[..., Settings],
    filled: Filled,
    looks: Looks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(grace_seconds=0, max_staleness_hours=1_000_000)
    for name, act in actions(filled):
        if name != "doctor --invariants":  # it looks at all of them
            act(settings, 0)

    too_much = {
        name: sorted(tables - ALLOWED.get(name, ("", set()))[1])
        for name, tables in sorted(looks.whole.items())
    }
    assert {name: tables for name, tables in too_much.items() if tables} == {}
    assert len(looks.ran) > 100, sorted(looks.ran)
