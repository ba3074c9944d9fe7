"""Read how a run goes, for the command line and for the dashboard."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from babylon_tasks.cli.report_better import better_than_yesterday, served_before
from babylon_tasks.cli.report_lines import lines
from babylon_tasks.cli.report_worse import when_it_got_worse
from babylon_tasks.cost.ledger import Ledger, ledger
from babylon_tasks.cost.words import in_words
from babylon_tasks.db import costs, lineages, reports, run_report
from babylon_tasks.db.session import Connection
from babylon_tasks.run_history import RunHistory, run_history
from babylon_tasks.run_records import RunRows
from babylon_tasks.settings import Settings


class WholeReport(Struct, frozen=True):
    """A run: its rows, its curves, where it stands in words, and what it has cost."""

    lineage: str
    rows: RunRows
    history: RunHistory
    lines: list[str]
    cost: Ledger


def read_report(
    connection: Connection, settings: Settings, *, since: datetime | None
) -> WholeReport | None:
    """Read a lineage's run from a moment on; None where it has no window.

    Raises LineageNotFound.
    """
    name = settings.lineage
    lineages.require(connection, name)
    rows = run_report.read(connection, name, since=since)
    history = run_history(rows)
    if history is None:
        return None
    answered = _answered(connection, name, history, rows)
    system = reports.system_state(connection, name)
    paid = ledger(costs.read(connection, name, since=since, answers=False), settings.prices)
    cost = in_words(paid)
    return WholeReport(
        name,
        rows,
        history,
        [*answered, *lines(system, history), *([] if cost is None else [cost])],
        paid,
    )


def nothing_to_report(lineage: str, since: str | None) -> str:
    """Say that there is no window, and where to look; ``since`` as it was written."""
    if since is None:
        return f"lineage {lineage} has no window yet: beat opens the hours that agents record into"
    return (
        f"lineage {lineage} has no window from {since} on, so nothing is reported; "
        "`babylon-tasks windows list` shows which there are"
    )


def _answered(
    connection: Connection, lineage: str, history: RunHistory, rows: RunRows
) -> list[str]:
    before = served_before(history, rows.windows)
    pairs = None
    if before is not None:
        now = history.served[-1].step
        pairs = run_report.paired_values(connection, lineage, now=now, before=before)
    return [
        *better_than_yesterday(history, rows.windows, before, pairs),
        *when_it_got_worse(history, rows.windows),
    ]
