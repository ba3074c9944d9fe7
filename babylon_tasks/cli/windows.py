"""``windows``, ``score``, ``train``, ``backfill``, ``retry``: hours, and what is done with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from msgspec import Struct

from babylon_tasks.cli.context import actor, begin, database, told_when_interrupted
from babylon_tasks.cli.output import (
    AsJson,
    ExitCode,
    as_json,
    progress_bar,
    refuse,
    say,
    show,
    table,
)
from babylon_tasks.db import windows as rows
from babylon_tasks.db.windows import Window
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.judge import Judgement, judge
from babylon_tasks.pipeline.score import Scoring, score_window
from babylon_tasks.pipeline.train import TrainOutcome, train_window
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState
from babylon_tasks.windows import window_id, window_start

Enqueue = Annotated[
    bool, typer.Option("--enqueue", help="Leave it to a worker; prints the Celery task id.")
]
WindowArgument = Annotated[
    str, typer.Argument(metavar="WINDOW", help="A UTC hour, as 2026-01-31T09:00.")
]
# Nothing more is done with these, and that is as it should be.
_FINISHED = (WindowState.TRAINED, WindowState.HELD_OUT, WindowState.SKIPPED)


class Backfill(Struct, frozen=True):
    """What a backfill found: windows without a row, and what it did with them."""

    since: str
    new: list[str]
    sealed: list[str]
    sent: list[str]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (windows, score, train, backfill, retry):
        app.command()(command)


def windows(
    min_agents: Annotated[int, typer.Option(min=0, help="Only with so many agents.")] = 0,
    lookback_hours: Annotated[
        int | None, typer.Option(min=1, help="Only those that began in the last hours.")
    ] = None,
    state: Annotated[
        list[WindowState] | None, typer.Option(help="Only in this state; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    json: AsJson = False,
) -> None:
    """List windows, newest first, with state, counts and rewards.

    JSON: {"windows": [{window_id, state, held_out, reason, trajectories, agents, scored,
    rejected, reward_mean, reward_std, attempt, training_tries, next_attempt_at, ...}]}.
    """
    settings = begin()
    with database(settings) as connection:
        since = None
        if lookback_hours is not None:
            since = rows.clock(connection) - timedelta(hours=lookback_hours)
        found = rows.list_windows(
            connection, since=since, states=state or None, min_agents=min_agents, limit=limit
        )
    if json:
        as_json({"windows": found})
        return
    columns = ("window", "state", "agents#", "trajectories#", "scored#", "rejected#")
    table(
        None,
        (*columns, "reward#", "spread#", "why"),
        (
            (
                w.window_id,
                w.state,
                w.agents,
                w.trajectories,
                w.scored,
                w.rejected,
                w.reward_mean,
                w.reward_std,
                w.reason or "",
            )
            for w in found
        ),
    )


def score(window: WindowArgument, enqueue: Enqueue = False, json: AsJson = False) -> None:
    """Score a sealed window here and now, or let a worker do it. Scoring twice is harmless.

    JSON: {window, state, claimed, reason, trajectories, agents, scored, rejected: {reason: n},
    reward_mean, seconds}, or {"task_id"}.
    """
    settings = begin()
    row = _get(settings, window)
    if enqueue:
        _refuse_unless(row, "be scored", WindowState.SEALED, WindowState.SCORING)
        _enqueued(settings, row, "score", json)
        return
    with told_when_interrupted(settings, window), progress_bar(f"scoring {window}") as tell:
        result = score_window(settings, window, actor=actor(), on_progress=tell)
    if json:
        as_json(result)
    else:
        show(_scored(result))
    if result.claimed or result.state in (*_FINISHED, WindowState.SCORED, WindowState.TRAINING):
        return
    raise typer.Exit(ExitCode.REFUSED)


def train(
    window: Annotated[
        str | None,
        typer.Argument(metavar="[WINDOW]", help="By default the oldest windows that wait."),
    ] = None,
    enqueue: Enqueue = False,
    json: AsJson = False,
) -> None:
    """Do one training step and judge what came of it, here or on the GPU worker.

    Here means: this process starts a trainer of its own for the length of the command.
    JSON: {outcome: {action, windows, step, reason, gradient_steps, trainable_tokens, seconds},
    judgement: {action, candidate, serving, reason, evidence} or null}, or {"task_id"}.
    """
    settings = begin()
    row = None if window is None else _get(settings, window)
    if enqueue:
        if row is not None:
            _refuse_unless(row, "be trained", WindowState.SCORED, WindowState.TRAINING)
        _enqueued(settings, row, "train", json)
        return
    if row is not None and row.state not in (WindowState.SCORED, WindowState.TRAINING):
        # Answered without a trainer, whose start takes many seconds.
        outcome, judgement = TrainOutcome("skipped", [row.window_id], None, _why_not(row)), None
    else:
        with told_when_interrupted(settings, window):
            outcome, judgement = _trained(settings, window)
    if json:
        as_json({"outcome": outcome, "judgement": judgement})
    else:
        show(_told(outcome))
        if judgement is not None:
            show(f"{judgement.action}: step {judgement.serving} serves; {judgement.reason}")
    if outcome.action == "failed":
        raise typer.Exit(ExitCode.FAILED)
    if outcome.action == "busy" or (
        outcome.action == "skipped" and row is not None and _unfinished(settings, row)
    ):
        raise typer.Exit(ExitCode.REFUSED)


def backfill(
    since: Annotated[str, typer.Option(help="From this time on (UTC), as 2026-01-31 or an hour.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, change nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Open the hours that discovery has passed over, seal those that are over, wake the workers.

    Repeating it is harmless. JSON: {since, new: [window], sealed: [window], sent: [task_id]}.
    """
    start = _moment(since)
    settings = begin()
    with database(settings) as connection:
        seen = rows.seen(connection, window_id(start), 10_000)
        known = {row.window_id for row in rows.list_windows(connection, since=start, limit=100_000)}
    result = Backfill(window_id(start), [name for name in seen if name not in known], [], [])
    if not dry_run:
        from babylon_tasks.tasks.send import send_windows

        found = discover(settings, actor=actor(), since=start)
        result = Backfill(
            result.since,
            found.opened,
            found.sealed,
            send_windows(found.to_score, found.to_train),
        )
    if json:
        as_json(result)
        return
    for name in result.new:
        show(f"{name}  {'would be opened' if dry_run else 'opened'}")
    say(
        f"{len(result.new)} windows {'to open' if dry_run else 'opened'}, "
        f"{len(result.sealed)} sealed, {len(result.sent)} messages sent"
    )


def retry(window: WindowArgument, json: AsJson = False) -> None:
    """Give a failed window another life, from where it failed; its attempts begin again.

    JSON: {window, state}.
    """
    settings = begin()
    with database(settings) as connection:
        state = rows.retry(connection, window, actor=actor())
    if json:
        as_json({"window": window, "state": state})
    else:
        show(f"window {window} is {state} again; the workers take it up within a minute")


def _get(settings: Settings, window: str) -> Window:
    with database(settings) as connection:
        return rows.get(connection, window)


def _enqueued(settings: Settings, row: Window | None, what: str, json: bool) -> None:
    # Only here: everything else works without Celery, and without Redis.
    from babylon_tasks.tasks.send import send_score, send_train

    if what == "score" and row is not None:
        task_id = send_score(row.window_id)
    else:
        task_id = send_train(None if row is None else row.window_id)
    if row is not None:
        with database(settings) as connection:
            rows.mark_enqueued(connection, [row.window_id])
    if json:
        as_json({"task_id": task_id})
    else:
        show(task_id)


def _refuse_unless(row: Window, what: str, *states: WindowState) -> None:
    if row.state in states:
        return
    if row.state in (*_FINISHED, WindowState.SCORED, WindowState.TRAINING):
        say(_why_not(row) + "; nothing to send")
        raise typer.Exit(ExitCode.DONE)
    refuse(f"{_why_not(row)} and cannot {what} now; see `babylon-tasks why {row.window_id}`")


def _why_not(row: Window) -> str:
    return f"window {row.window_id} is {row.state}" + (f": {row.reason}" if row.reason else "")


def _scored(result: Scoring) -> str:
    if not result.claimed:
        return f"{result.window} is {result.state}: {result.reason or 'nothing to score'}"
    mean = "-" if result.reward_mean is None else f"{result.reward_mean:.3f}"
    rejected = ", ".join(f"{n} {reason}" for reason, n in result.rejected.items()) or "none"
    return (
        f"{result.window} is {result.state}{f' ({result.reason})' if result.reason else ''}: "
        f"{result.scored} of {result.trajectories} trajectories scored, mean reward {mean}, "
        f"rejected: {rejected}; {result.seconds:.1f} s"
    )


def _trained(settings: Settings, window: str | None) -> tuple[TrainOutcome, Judgement | None]:
    from babylon_tasks.training.supervisor import Trainer

    who = actor()
    with Trainer(settings) as trainer, progress_bar("training") as tell:
        outcome = train_window(
            settings,
            trainer,
            window=window,
            actor=who,
            on_progress=lambda progress: tell(progress.done, progress.total),
        )
        if outcome.action not in ("committed", "adopted"):
            return outcome, None
        return outcome, judge(settings, trainer, actor=who)


def _told(outcome: TrainOutcome) -> str:
    if outcome.action in ("committed", "adopted"):
        return (
            f"{outcome.action} step {outcome.step} from {', '.join(outcome.windows)}: "
            f"{outcome.gradient_steps} gradient steps over {outcome.trainable_tokens} tokens; "
            f"{outcome.seconds:.1f} s"
        )
    return f"{outcome.action}: {outcome.reason}"


def _unfinished(settings: Settings, row: Window) -> bool:
    return WindowState(_get(settings, row.window_id).state) not in _FINISHED


def _moment(text: str) -> datetime:
    try:
        moment: Any = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time; write 2026-01-31 or an hour") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return window_start(window_id(moment))
