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

SIZE = Size(trajectories=4000, hours=400, steps=290)
OUTCOMES_EACH = 8
EXPLAIN = "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, FORMAT json) "
# What may look at most rows of a table, and why.
_COUNT = "counts rows, from an index alone"
_TREE = "the tree of checkpoints, from an index alone, once a plan"
_NEWEST = "the newest hundreds: here there are no more"
ALLOWED = {
    "costs.answers": {"calls_": "whole days of captured calls, from a moment on"},
    "due_windows.pick_to_score": {"windows": _NEWEST},
    "gauges.decisions": {"promotions": _COUNT},
    "gauges.steps": {"steps": _COUNT},
    "late_rows.to_check": {"windows": _NEWEST},
    "lineages.inference_names": {"checkpoints": _TREE},
    "lineages.names_come_again": {"checkpoints": _TREE},
    "lineages.parents": {"steps": _TREE},
    "open_and_seal.seen_without_id": {"windows": "rows that name no hour, each minute: scale.md"},
    "publication.models": {"checkpoints": "compares Babylon's models with ours, once a minute"},
    "run_report.commits": {"steps": _NEWEST},
    "run_report.decisions": {"promotions": _NEWEST},
    "run_report.how_many_checkpoints": {"checkpoints": _COUNT},
    "run_report.how_many_steps": {"steps": _COUNT},
    "unopened_windows.unopened": {"windows": "a part of the survey: 2,000 ids a call"},
    "windows.counts": {"windows": _COUNT},
    "windows.how_many": {"windows": _COUNT},
}


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

    too_much = [
        f"{name}: {table}"
        for name, tables in sorted(looks.whole.items())
        for table in sorted(tables)
        if not any(table.startswith(known) for known in ALLOWED.get(name, ()))
    ]
    assert not too_much, "\n".join(too_much)
    assert len(looks.ran) > 100, sorted(looks.ran)
