"""``why``: every event of a window, and what became of a trajectory or a checkpoint."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import structs

from babylon_tasks.cli.checkpoint import show_checkpoint
from babylon_tasks.cli.context import begin, database
from babylon_tasks.cli.event_lines import event_lines, event_paragraphs
from babylon_tasks.cli.moments import written_hour
from babylon_tasks.cli.output import AsJson, as_json, out, say, show, table
from babylon_tasks.cli.trajectory import show_trajectory
from babylon_tasks.cli.window_lines import UNFINISHED, outcome_lines, state_lines
from babylon_tasks.db import lineages, reports, unopened_windows
from babylon_tasks.db.checkpoint_history import CheckpointHistory, checkpoint_history
from babylon_tasks.db.reports import Event, WindowHistory
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectory_history import trajectory_history
from babylon_tasks.errors import CheckpointNotFound
from babylon_tasks.policy_names import step_number
from babylon_tasks.registry import refusals
from babylon_tasks.settings import Settings


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command()(why)


def why(
    window: Annotated[
        str,
        typer.Argument(
            metavar="WINDOW|TRAJECTORY|STEP",
            help="A moment of a UTC hour, as 2026-01-31T09; an id; a checkpoint: 7 or babylon@7.",
        ),
    ],
    everything: Annotated[
        bool, typer.Option("--details", help="Each event with all that is on record of it.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show every event of a window, in order, with its results; or what became of a trajectory, or
    of a checkpoint.

    Each event is one line, as wide as the terminal; --details has all of it.

    JSON of a checkpoint: {lineage, checkpoint: {step, parent, created_at, windows, serves, dead_at,
    discarded_at, pruned_at}, screens, decisions, served: [{begin, end, ended_by, ended_why,
    windows}], arms: [{from_window, arm, share}], trials: [{comparison, first, last, windows,
    conclusion}]}.
    JSON of a trajectory: {trajectory_id, window, account, detail, scores, rejections, uses}.
    JSON of a window: {window, trouble, waits_for: [market], reward_versions: [{version, scored_at,
    scored, right_share, profit_mean, used, because, came: {market: yes, no, a change in percent, or
    null}}], events: [{happened_at, kind, actor, lineage, target_step, detail}], rejections:
    [{stage, reason, count, example, detail}], uses: {use: n}, steps, evaluations, lineages:
    [{lineage, state, reason, training_attempts, left_over, trained_at}], empty where the database
    has one, tripwires: as in `tripwires list`, the oldest first, answers: {kind of question:
    {groups, commonest, share, entropy, known}} of those that a step took}. The window's state and
    rejections are as the lineage of BABYLON_LINEAGE sees them.
    """
    settings = begin()
    with database(settings) as connection:
        hour = written_hour(window)
        if hour is None:
            life = _checkpoint(connection, settings, window)
            if life is not None:
                as_json(life) if json else show_checkpoint(life)
                return
            found = trajectory_history(connection, window, lineage=settings.lineage)
            if found is not None:
                as_json(found) if json else show_trajectory(found)
                return
            unopened_windows.refuse(connection, window)
            raise typer.BadParameter(
                f"{window} is neither an hour, nor a trajectory on record, nor a checkpoint of "
                f"lineage {settings.lineage}; write 2026-01-31T09, an id, or 7"
            )
        history = reports.history(connection, hour, lineage=settings.lineage)
        lineage = lineages.get(connection, settings.lineage)
        paused = refusals.why_paused(connection, settings)
    if lineage is not None and history.window.state in UNFINISHED:
        history = structs.replace(history, trouble=lineage.trouble)
    if json:
        as_json(history)
    else:
        _show_history(history, all_of_it=everything)
        if paused is not None and history.window.state in UNFINISHED:
            show(paused)


def _checkpoint(connection: Connection, settings: Settings, text: str) -> CheckpointHistory | None:
    """Read about a checkpoint; None where the text, which may be an id, names none."""
    prefix = f"{settings.lineage}@"
    step = step_number(text.removeprefix(prefix))
    found = None if step is None else checkpoint_history(connection, settings.lineage, step)
    if found is None and text.startswith(prefix):
        raise CheckpointNotFound(
            f"{text} does not exist; `babylon-tasks models list` lists the checkpoints"
        )
    return found


def _show_history(history: WindowHistory, *, all_of_it: bool) -> None:
    for line in state_lines(history):
        show(line)
    _show_events(history.events, all_of_it=all_of_it)
    if history.rejections:
        out.print()
        rejected = ((r.reason, r.count, r.stage, r.example, r.detail) for r in history.rejections)
        table("not used", ("reason", "n#", "stage", "for example", "detail"), rejected)
    for line in outcome_lines(history):
        show(line)


def _show_events(events: list[Event], *, all_of_it: bool) -> None:
    for line in event_paragraphs(events) if all_of_it else event_lines(events, out.width):
        show(line)
    if events and not all_of_it and out.is_terminal:
        say("in short; --details shows all that is on record")
