"""``migrate`` and ``verify-data``: the database's schema, and what it holds."""

from __future__ import annotations

from typing import Annotated

import typer

from babylon_tasks.cli.context import begin
from babylon_tasks.cli.output import AsJson, ExitCode, as_json, out, progress_bar, say, show, table
from babylon_tasks.db import babylon
from babylon_tasks.db import migrate as migrations
from babylon_tasks.db.session import session
from babylon_tasks.pipeline.verify import verify_data as look


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
            help="For a database of its own: make Babylon's tables, where there is none of them.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Bring the database's schema up to date; safe from many pods at once.

    With --status: exit code 1 while a migration is pending or was edited after it was applied.
    JSON: {"migrations": [{name, state, applied_at}]}, or {"created": [table], "applied": [name]}.
    """
    if sql:
        script = migrations.as_sql(create_babylon_tables=create_babylon_tables)
        typer.echo(script, nl=False)
        return
    settings = begin()
    if not status:
        created = babylon.create(settings) if create_babylon_tables else []
        applied = migrations.apply(settings)
        if json:
            as_json({"created": created, "applied": applied})
        else:
            done = [f"created {name}" for name in created]
            done += [f"applied {name}" for name in applied]
            show("\n".join(done) or "the schema is up to date")
        return
    with session(settings) as connection:
        babylon.require(connection)
        found = migrations.status(connection)
    if json:
        as_json({"migrations": found})
    else:
        table(None, ("migration", "state", "applied (UTC)"), _rows(found))
    if any(entry.state in ("pending", "changed") for entry in found):
        say("run `babylon-tasks migrate`")
        raise typer.Exit(ExitCode.FAILED)


def verify_data(
    since: Annotated[
        str | None, typer.Option(help="Only windows from this one on, as 2026-01-31T09:00.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many windows.")] = 1000,
    json: AsJson = False,
) -> None:
    """Show what is in the database, what of it is trainable, and why the rest is not.

    Writes nothing. JSON: {windows: [{window, state, reason, trajectories, agents, usable,
    trainable, exact, rejected: {reason: n}}], trajectories, usable, trainable, rejected,
    truncated}.
    """
    settings = begin()
    with progress_bar("reading windows") as tell:
        report = look(settings, since=since, limit=limit, on_progress=tell)
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
                w.state or "not opened",
                w.trajectories,
                w.agents,
                w.usable,
                w.trainable,
                w.rejected or w.reason,
            )
            for w in report.windows
        ),
    )
    out.print()
    show(
        f"{report.trajectories} trajectories in {len(report.windows)} windows: "
        f"{report.usable} usable, {report.trainable} trainable"
    )
    for reason, count in report.rejected.items():
        show(f"  {count:>8}  {reason}")
    if report.truncated:
        say("there are older windows: raise --limit, or choose with --since")


def _rows(found: list[migrations.MigrationStatus]) -> list[tuple[object, ...]]:
    return [(entry.name, entry.state, entry.applied_at) for entry in found]
