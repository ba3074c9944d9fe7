"""``tripwires list|accept``: what tripped before a step, and letting a window through."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import Struct, structs

from babylon_tasks.cli.context import actor, begin, database
from babylon_tasks.cli.limits import Limit
from babylon_tasks.cli.moments import Since, read_window, since_hour
from babylon_tasks.cli.nouns import Noun
from babylon_tasks.cli.output import AsJson, ExitCode, as_json, say, say_left_out, show, table
from babylon_tasks.db import tripwires, windows
from babylon_tasks.db.tripwires import TripRow


class Accepted(Struct, frozen=True):
    """The wires of each window that was let through, and the windows that were not tripped."""

    accepted: dict[str, list[str]]
    not_tripped: list[str]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    noun = typer.Typer(
        cls=Noun, no_args_is_help=True, help="What tripped before a step: list, accept."
    )
    noun.command("list")(list_tripwires)
    noun.command()(accept)
    app.add_typer(noun, name="tripwires")


def list_tripwires(
    only_open: Annotated[
        bool, typer.Option("--open", help="Only what keeps windows from training now.")
    ] = False,
    since: Since = None,
    limit: Limit = 100,
    json: AsJson = False,
) -> None:
    """List what tripped in windows that a step of the lineage was about to take, newest first.

    With --open the oldest window comes first. --since is compared with the beginning of windows.
    JSON: {"tripwires": [{id, lineage, window, reward_version, step, target_step, kind, policy,
    what, measured, bound, severity, source, evidence, actor, found_at, accepted_by, accepted_at,
    open}], truncated}; step is null where none took the window.
    """
    settings = begin()
    start = since_hour(settings, since)
    with database(settings) as connection:
        read = tripwires.still_open if only_open else tripwires.listed
        found = read(connection, settings.lineage, limit=limit, since=start)
        every = len(found)
        if every == limit:
            every = tripwires.how_many(
                connection, settings.lineage, only_open=only_open, since=start
            )
    left_out = every - len(found)
    if json:
        as_json({"tripwires": [documented(one) for one in found], "truncated": left_out > 0})
        return
    table(
        None,
        ("window", "tripwire", "policy", "times the bound#", "what", "found (UTC)", "now"),
        (
            (one.window, one.kind, one.policy, one.severity, one.what, one.found_at, _now(one))
            for one in found
        ),
        empty="nothing keeps a window from training" if only_open else "nothing has tripped",
    )
    say_left_out(left_out, "newer" if only_open else "older", f"--limit {every} shows all")


def accept(
    hours: Annotated[
        list[str],
        typer.Argument(
            parser=read_window,
            metavar="WINDOW...",
            help="Hours that are tripped, any moment of each.",
        ),
    ],
    json: AsJson = False,
) -> None:
    """Let tripped windows through: the lineage's next steps take them.

    Who did it stays on record. Rewards that are made anew later are examined anew.
    JSON: {accepted: {window: [tripwire]}, not_tripped: [window]}.
    """
    settings = begin()
    accepted: dict[str, list[str]] = {}
    with database(settings) as connection:
        for window in hours:
            windows.get(connection, window)  # refuses what is no window before any is accepted
        for window in hours:
            kinds = tripwires.accept(connection, settings.lineage, window, actor=actor())
            if kinds:
                accepted[window] = kinds
    found = Accepted(accepted, [window for window in hours if window not in accepted])
    if json:
        as_json(found)
    for window, kinds in accepted.items():
        if not json:
            show(f"{window} is let through: {', '.join(kinds)}")
    if found.not_tripped:
        say(
            f"not tripped for lineage {settings.lineage}: {', '.join(found.not_tripped)}; "
            "`babylon-tasks tripwires list --open` lists what is"
        )
        raise typer.Exit(ExitCode.REFUSED)


def documented(row: TripRow) -> dict[str, object]:
    """Return a row as JSON has it."""
    return {**structs.asdict(row), "severity": row.severity}


def sentence(row: TripRow) -> str:
    """Describe a row in one line."""
    return (
        f"{row.kind} ({row.policy}): {row.what}; measured {row.measured:.2f}, bound "
        f"{row.bound:.2f}, which is {row.source}; {_now(row)}"
    )


def _now(row: TripRow) -> str:
    if row.accepted_by is not None:
        return f"accepted by {row.accepted_by} at {row.accepted_at:%F %T}"
    if row.step is not None:
        return f"taken by step {row.step}"
    return "not trained on until it is accepted" if row.open else "over"
