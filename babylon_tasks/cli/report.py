"""``report``: how a lineage's run goes, in words and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import structs

from babylon_tasks.cli.context import begin, database, require
from babylon_tasks.cli.moments import Since, since_hour
from babylon_tasks.cli.output import AsJson, as_json, refuse, show, write
from babylon_tasks.cli.report_parts import read_parts
from babylon_tasks.cli.whole_report import WholeReport, nothing_to_report, read_report
from babylon_tasks.counted import counted


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(report)


def report(
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page, replacing the file."),
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
    [{window, step, when}], steps: [{step, parent, state, method, backend, windows, manifest_hash,
    groups, trajectories, gradient_steps, trainable_tokens, metrics, attempts, planned_at, seconds,
    adapter_hash, error}], the newest first, steps_left_out, best, worst: [trajectory]}, of the
    newest windows, each as `show` has it.
    """
    if html is not None:
        require("matplotlib", extras="pictures")
    settings = begin()
    start = since_hour(settings, since)
    parts = None
    with database(settings) as connection:
        found = read_report(connection, settings, since=start)
        if found is not None and (json or html is not None):
            parts = read_parts(connection, settings, found.rows)
    if found is None:
        refuse(nothing_to_report(settings.lineage, None if since is None else since.text))
    if html is not None and parts is not None:
        from babylon_tasks.cli.report_page import page  # it imports matplotlib

        written = page(
            f"Lineage {found.lineage}",
            found.lines,
            found.history,
            found.rows,
            parts.extremes,
            comparison=parts.comparison,
            cost=found.cost,
        )
        write(html, written)
    if json and parts is not None:
        about = {"lineage": found.lineage, "file": None if html is None else str(html)}
        as_json(about | _document(found) | structs.asdict(parts.extremes))
        return
    for line in found.lines:
        show(line)
    if html is not None:
        show(f"{html}: {counted(found.history.windows, 'window')}")


def _document(found: WholeReport) -> dict[str, Any]:
    return {
        "lines": found.lines,
        **structs.asdict(found.history),
        "steps": found.rows.steps,
        "steps_left_out": found.rows.steps_left_out,
    }
