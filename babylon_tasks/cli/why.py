"""``why``: every event of a window, and what became of a trajectory or a checkpoint."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import structs

from babylon_tasks.cli.answers import sampled_answers
from babylon_tasks.cli.checkpoint import show_checkpoint
from babylon_tasks.cli.context import begin, database
from babylon_tasks.cli.event_lines import event_lines, event_paragraphs
from babylon_tasks.cli.moments import written_hour
from babylon_tasks.cli.output import AsJson, as_json, cell, out, say, show, table
from babylon_tasks.cli.steps import step_in_short
from babylon_tasks.cli.trajectory import show_trajectory
from babylon_tasks.cli.tripwires import sentence
from babylon_tasks.db import lineages, reports, unopened_windows
from babylon_tasks.db.checkpoint_history import CheckpointHistory, checkpoint_history
from babylon_tasks.db.reports import Event, WindowHistory
from babylon_tasks.db.reward_versions import RewardVersion
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectory_history import trajectory_history
from babylon_tasks.errors import CheckpointNotFound
from babylon_tasks.policy_names import step_number
from babylon_tasks.registry import refusals
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState

# States in which later outcomes still count.
_UNFINISHED = (WindowState.SCORED, WindowState.TRAINING, WindowState.HELD_OUT)


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
        history = reports.history(connection, hour or window, lineage=settings.lineage)
        lineage = lineages.get(connection, settings.lineage)
        paused = refusals.why_paused(connection, settings)
    if lineage is not None and history.window.state in _UNFINISHED:
        history = structs.replace(history, trouble=lineage.trouble)
    if json:
        as_json(history)
    else:
        _show_history(history, all_of_it=everything)
        if paused is not None and history.window.state in _UNFINISHED:
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
    window = history.window
    reason = f" ({window.reason})" if window.reason else ""
    idle = window.why_idle if window.state in _UNFINISHED else None
    and_idle = "" if idle is None else f" and {idle}"
    show(f"{window.window_id} is {window.state}{reason}{and_idle}")
    if window.state is WindowState.FAILED and window.scored_at is None:
        show(f"none of its rows is scored; `babylon-tasks windows retry {window.window_id}`")
    for one in history.lineages:
        done = f" ({one.reason})" if one.reason else ""
        show(f"for lineage {one.lineage} it is {one.state}{done}")
    if history.trouble is not None:
        show(f"the lineage's checkpoints: {history.trouble}")
    if history.waits_for and window.state in _UNFINISHED:
        show(f"outcomes not known yet: {', '.join(history.waits_for)}")
    if len(history.reward_versions) > 1:  # a single one is covered by the events below
        for version in history.reward_versions:
            show(_version(version))
    _show_events(history.events, all_of_it=all_of_it)
    if history.rejections:
        out.print()
        rejected = ((r.reason, r.count, r.stage, r.example, r.detail) for r in history.rejections)
        table("not used", ("reason", "n#", "stage", "for example", "detail"), rejected)
    for trip in history.tripwires:
        show(f"tripwire {sentence(trip)}")
    if history.uses:
        show("used up: " + cell(history.uses))
    for step in history.steps:
        show(step_in_short(step))
    for line in sampled_answers(history.answers):
        show(line)
    for found in history.evaluations:
        show(
            f"step {found.step} has value {found.value:.3f} on {found.groups} held-out groups "
            f"(recorded answers cover {found.coverage:.2f})"
        )


def _show_events(events: list[Event], *, all_of_it: bool) -> None:
    for line in event_paragraphs(events) if all_of_it else event_lines(events, out.width):
        show(line)
    if events and not all_of_it and out.is_terminal:
        say("in short; --details shows all that is on record")


def _version(made: RewardVersion) -> str:
    parts = [f"reward version {made.version} of {made.scored_at:%F %T}: {made.scored} scored"]
    if made.because is not None:
        came = f": {cell(made.came)}" if made.came else ""
        parts.append(f"made since {made.because}{came}")
    if made.used:
        parts.append(f"{made.used} used")
    return "; ".join(filter(None, parts))
