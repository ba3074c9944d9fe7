"""``migrate`` and ``verify-data``: the database's schema, and its content."""

from __future__ import annotations

from typing import Annotated

import typer

from babylon_tasks.cli.context import begin, reach_database
from babylon_tasks.cli.limits import MOST
from babylon_tasks.cli.moments import Since, since_hour
from babylon_tasks.cli.output import (
    LISTED,
    AsJson,
    ExitCode,
    as_json,
    out,
    progress_bar,
    say,
    show,
    show_counts,
    table,
)
from babylon_tasks.counted import counted
from babylon_tasks.db import babylon
from babylon_tasks.db import migrate as migrations
from babylon_tasks.db.session import session
from babylon_tasks.pipeline.data_report import DataReport
from babylon_tasks.pipeline.data_report import verify_data as look
from babylon_tasks.reasons import Reason
from babylon_tasks.windows import window_id


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(migrate)
    app.command("verify-data")(verify_data)


def migrate(
    status: Annotated[bool, typer.Option("--status", help="Only list the migrations.")] = False,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print one script for psql; needs no database.")
    ] = False,
    create_babylon_tables: Annotated[
        bool,
        typer.Option(
            "--create-babylon-tables",
            help="For a separate database: create Babylon's tables, if none of them exists.",
        ),
    ] = False,
    grant_to: Annotated[
        str | None,
        typer.Option(
            "--grant-to",
            metavar="ROLE",
            help="Where a DBA migrates: also give its rights to the role of DATABASE_URL.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Bring the database's schema up to date; safe from many pods at once.

    With --status: exit code 1 while a migration is pending or was edited after it was applied.
    JSON: {"migrations": [{name, state, applied_at}]}, or {"created": [table], "applied": [name]}.
    """
    if sql:
        script = migrations.as_sql(create_babylon_tables=create_babylon_tables, grant_to=grant_to)
        typer.echo(script, nl=False)
        return
    settings = begin()
    reach_database(settings)
    if not status:
        created = babylon.create(settings) if create_babylon_tables else []
        applied = migrations.apply(settings, grant_to=grant_to)
        if json:
            as_json({"created": created, "applied": applied})
        else:
            done = [f"created {name}" for name in created]
            done += [f"applied {name}" for name in applied]
            for line in done or ["the schema is up to date"]:
                show(line)
        return
    with session(settings) as connection:
        babylon.require(connection)
        entries = migrations.status(connection)
    if json:
        as_json({"migrations": entries})
    else:
        table(None, ("migration", "state", "applied (UTC)"), _rows(entries))
    if any(entry.state in ("pending", "changed") for entry in entries):
        say("run `babylon-tasks migrate`")
        raise typer.Exit(ExitCode.FAILED)


def verify_data(
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most this many windows.")] = 1000,
    json: AsJson = False,
) -> None:
    """Show what the database contains, what of it is trainable, and why the rest is not.

    Writes nothing. JSON: {windows: [{window, state, reason, trajectories, agents, usable,
    trainable, exact, for_warm_start, rejected: {reason: n}, bets_known, bets_unknown,
    models: {name: calls}}], trajectories, usable, trainable, for_warm_start,
    rejected, bets_known, bets_unknown, models: [{name, calls, whose: base model, lineage, or
    null}], unknown_actions: {word: n}, unknown_sides: {word: n}, unknown_outcomes: {word: n},
    captures: {result: n}, warnings: [text], truncated}.
    """
    settings = begin()
    reach_database(settings)
    start = since_hour(settings, since)
    first = None if start is None else window_id(start)
    with progress_bar("reading windows") as on_progress:
        report = look(settings, since=first, limit=limit, on_progress=on_progress)
    if json:
        as_json(report)
        return
    columns = ("window", "state", "trajectories#", "agents#", "usable#", "trainable#", "not usable")
    table(
        None,
        columns,
        (
            (
                w.window,
                w.state or ("not opened" if w.reason is None else f"not opened: {w.reason}"),
                w.trajectories,
                w.agents,
                w.usable,
                w.trainable,
                w.rejected or w.reason,
            )
            for w in report.windows
        ),
        empty="Babylon's tables have no trajectory here; docs/recording.md says how agents record",
    )
    out.print()
    show(
        f"{counted(report.trajectories, 'trajectory')} in "
        f"{counted(len(report.windows), 'window')}: {report.usable} usable, "
        f"{report.trainable} trainable, {report.for_warm_start} for a warm start"
    )
    others = [model.name for model in report.models if model.whose is None]
    for reason, count in report.rejected.items():
        asked = f": they asked {_some(others)}" if reason == Reason.OTHER_POLICY and others else ""
        show(f"  {count:>8}  {reason}{asked}")
    _show_recorded(report)
    if report.truncated:
        say(f"only the newest {limit} windows were read: raise --limit for older ones")


def _show_recorded(report: DataReport) -> None:
    show(f"bets: {report.bets_known} with an outcome, {report.bets_unknown} without")
    whose = {None: "", "base model": ", the base model", "lineage": ", of the lineage"}
    asked = {f"{model.name}{whose[model.whose]}": model.calls for model in report.models}
    for what, found in (
        ("models asked, by calls", asked),
        ("calls without token ids, by what the gateway captured of them", report.captures),
        ("actions that are not understood", report.unknown_actions),
        ("sides that are not understood", report.unknown_sides),
        ("outcomes that are not understood", report.unknown_outcomes),
    ):
        show_counts(what, found)
    for warning in report.warnings[:LISTED]:
        show(f"warning: {warning}")
    if len(report.warnings) > LISTED:
        show(f"warning: and {len(report.warnings) - LISTED} more: see --json")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} others" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _rows(entries: list[migrations.MigrationStatus]) -> list[tuple[object, ...]]:
    return [(entry.name, entry.state, entry.applied_at) for entry in entries]
