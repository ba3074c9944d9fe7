"""``report``: how a lineage's run goes, in words and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from babylon_tasks.cli.context import begin, database, require
from babylon_tasks.cli.moments import Since, since_hour
from babylon_tasks.cli.output import AsJson, as_json, refuse, show, write
from babylon_tasks.cli.report_better import better_than_yesterday, served_before
from babylon_tasks.cli.report_lines import lines
from babylon_tasks.cli.report_parts import read_parts
from babylon_tasks.cli.report_worse import when_it_got_worse
from babylon_tasks.cost.ledger import ledger
from babylon_tasks.cost.words import in_words
from babylon_tasks.db import costs, reports, run_report
from babylon_tasks.db.session import Connection
from babylon_tasks.run_history import RunHistory, run_history
from babylon_tasks.run_records import RunRows


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(report)


def report(
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="A page, written anew.")
    ] = None,
    since: Since = None,
    json: AsJson = False,
) -> None:
    """Show how the run goes: rewards, held-out values, decisions, what is not used.

    With --html as one page with curves, for a phone and a dark screen, too; it needs the extra
    `pictures`. Reads Postgres alone and changes nothing. Exit code 3 if there is no window.
    JSON: {lineage, file or null, lines: [text], windows, left_out, first, last, together,
    points: [{window, reward: {mean, deviation} or null, right, rejected: [n], backlog, hours}],
    reasons, rejected: {reason: n}, held_out: [{window, value, serving, base}], screens: [{window,
    valid, valid_other, right, right_other}], marks: [{window, kind, step, why, when}], served:
    [{window, step, when}]}.
    """
    if html is not None:
        require("matplotlib", extras="pictures")
    settings = begin()
    start = since_hour(settings, since)
    name = settings.lineage
    with database(settings) as connection:
        rows = run_report.read(connection, name, since=start)
        system = reports.system_state(connection, name)
        history = run_history(rows)
        answered = [] if history is None else _answered(connection, name, history, rows)
        paid = ledger(costs.read(connection, name, since=start, answers=False), settings.prices)
        if html is not None:
            parts = read_parts(connection, settings, rows)
    if history is None:
        when = "" if since is None else f" from {since.text} on"
        refuse(
            f"lineage {name} has no window{when}, so nothing is reported; "
            "`babylon-tasks windows list` shows which there are"
        )
    cost = in_words(paid)
    described = [*answered, *lines(system, history), *([] if cost is None else [cost])]
    if html is not None:
        from babylon_tasks.cli.report_page import page  # it imports matplotlib

        written = page(
            f"Lineage {name}",
            described,
            history,
            rows,
            parts.extremes,
            comparison=parts.comparison,
            cost=paid,
        )
        write(html, written)
    if json:
        about = {"lineage": name, "file": None if html is None else str(html), "lines": described}
        as_json(about | {field: getattr(history, field) for field in history.__struct_fields__})
        return
    for line in described:
        show(line)
    if html is not None:
        show(f"{html}: {history.windows} windows")


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
