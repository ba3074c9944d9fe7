"""``score`` and ``train``: do the work in this process, or send it to a worker."""

from __future__ import annotations

from typing import Annotated

import typer

from babylon_tasks.actions import TrainAction
from babylon_tasks.cli.context import actor, begin, database, report_interruption
from babylon_tasks.cli.moments import WindowArgument, read_window
from babylon_tasks.cli.output import (
    AsJson,
    ExitCode,
    as_json,
    progress_bar,
    progress_bars,
    refuse,
    say,
    show,
)
from babylon_tasks.counted import counted
from babylon_tasks.db import due_windows
from babylon_tasks.db import windows as rows
from babylon_tasks.db.windows import Window
from babylon_tasks.pipeline.results import GateResult, Scoring, TrainOutcome
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train_and_evaluate import train_and_evaluate
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState

Enqueue = Annotated[
    bool, typer.Option("--enqueue", help="Send it to a worker; prints the Celery task id.")
]
# Final states: nothing more is to be done.
_FINISHED = (WindowState.TRAINED, WindowState.HELD_OUT, WindowState.SKIPPED)


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (score, train):
        app.command()(command)


def score(window: WindowArgument, enqueue: Enqueue = False, json: AsJson = False) -> None:
    """Score a sealed window here, or send it to a worker. Scoring twice is harmless.

    JSON: {window, state, claimed, reason, trajectories, agents, scored, used,
    rejected: {reason: n}, reward_mean, reward_std, profit_mean, right_share, waits_for, seconds},
    or {"task_id"}, null where nothing is left to send.
    """
    settings = begin()
    row = _get(settings, window)
    if enqueue:
        _refuse_unless(row, "be scored", json, WindowState.SEALED, WindowState.SCORING)
        _enqueued(settings, row, "score", json)
        return
    with report_interruption(settings, window), progress_bar(f"scoring {window}") as report:
        result = score_window(settings, window, actor=actor(), on_progress=report)
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
        typer.Argument(
            parser=read_window,
            metavar="[WINDOW]",
            help="By default the oldest windows that are due.",
        ),
    ] = None,
    enqueue: Enqueue = False,
    json: AsJson = False,
) -> None:
    """Run one training step and evaluate the newest checkpoint, here or on the gpu-worker.

    "Here" means that this process starts its own trainer for the duration of the command.
    JSON: {outcome: {action, windows, step, reason, skipped: {window: reason},
    result: {gradient_steps, trainable_tokens, adapter_hash, metrics, ...} or null, reward_mean,
    seconds},
    gate_result: {action, candidate, serving, reason, figures} or null}, or {"task_id"}, null
    where nothing is left to send.
    """
    settings = begin()
    with database(settings) as connection:  # refuse a wrong window before a trainer starts
        row = None if window is None else rows.get(connection, window, lineage=settings.lineage)
    if enqueue:
        if row is not None:
            _refuse_unless(row, "be trained", json, WindowState.SCORED, WindowState.TRAINING)
        _enqueued(settings, row, "train", json)
        return
    with report_interruption(settings, window):
        outcome, gate_result = _trained(settings, window)
    if json:
        as_json({"outcome": outcome, "gate_result": gate_result})
    else:
        show(_describe(outcome))
        if gate_result is not None:
            show(f"{gate_result.action}: step {gate_result.serving} serves; {gate_result.reason}")
    if outcome.action is TrainAction.FAILED:
        raise typer.Exit(ExitCode.FAILED)
    if outcome.action in (TrainAction.BUSY, TrainAction.PAUSED) or (
        outcome.action is TrainAction.SKIPPED and row is not None and _unfinished(settings, row)
    ):
        raise typer.Exit(ExitCode.REFUSED)


def _get(settings: Settings, window: str) -> Window:
    with database(settings) as connection:
        return rows.get(connection, window, lineage=settings.lineage)


def _enqueued(settings: Settings, row: Window | None, what: str, json: bool) -> None:
    # Imported here: everything else works without Celery and Redis.
    from babylon_tasks.tasks.send import send_score, send_train

    if what == "score" and row is not None:
        task_id = send_score(row.window_id)
    else:
        task_id = send_train(None if row is None else row.window_id)
    if row is not None:
        with database(settings) as connection:
            due_windows.mark_enqueued(connection, [row.window_id])
    if json:
        as_json({"task_id": task_id})
    else:
        show(task_id)
        what_came = "status" if row is None else f"why {row.window_id}"
        say(f"Flower shows it by this id; `babylon-tasks {what_came}` says what came of it")


def _refuse_unless(row: Window, what: str, json: bool, *states: WindowState) -> None:
    if row.state in states:
        return
    if row.state in (*_FINISHED, WindowState.SCORED, WindowState.TRAINING):
        say(_why_not(row) + "; nothing to send")
        if json:
            as_json({"task_id": None})
        raise typer.Exit(ExitCode.DONE)
    refuse(f"{_why_not(row)} and cannot {what} now; see `babylon-tasks why {row.window_id}`")


def _why_not(row: Window) -> str:
    return f"window {row.window_id} is {row.state}" + (f": {row.reason}" if row.reason else "")


def _scored(result: Scoring) -> str:
    if not result.claimed:
        return f"{result.window} is {result.state}: {result.reason or 'nothing to score'}"
    right = "-" if result.right_share is None else f"{result.right_share:.0%}"
    profit = "-" if result.profit_mean is None else f"{result.profit_mean:,.2f}"
    rejected = ", ".join(f"{n} {reason}" for reason, n in result.rejected.items()) or "none"
    return (
        f"{result.window} is {result.state}{f' ({result.reason})' if result.reason else ''}: "
        f"{result.scored} of {result.trajectories} trajectories scored, "
        f"bets right {right}, mean profit {profit}, "
        f"rejected: {rejected}; "
        f"{f'outcomes waited for: {result.waits_for}; ' if result.waits_for else ''}"
        f"{result.seconds:.1f} s"
    )


def _trained(settings: Settings, window: str | None) -> tuple[TrainOutcome, GateResult | None]:
    from babylon_tasks.tasks.trainer_manager import trainer_of_a_command

    with (
        trainer_of_a_command() as trainer,  # it starts once it is needed, which takes many seconds
        progress_bars("training", "looking at the checkpoint") as (training, evaluation),
    ):
        return train_and_evaluate(
            settings,
            trainer,
            window=window,
            actor=actor(),
            on_training=lambda progress: training(progress.done, progress.total),
            on_evaluation=lambda progress: evaluation(progress.done, progress.total),
        )


def _describe(outcome: TrainOutcome) -> str:
    result = outcome.result
    if result is not None:
        steps = counted(result.gradient_steps, "gradient step")
        return (
            f"{outcome.action} step {outcome.step} from {', '.join(outcome.windows)}: "
            f"{steps} over {result.trainable_tokens} tokens; "
            f"{outcome.seconds:.1f} s"
        )
    return f"{outcome.action}: {outcome.reason}"


def _unfinished(settings: Settings, row: Window) -> bool:
    return WindowState(_get(settings, row.window_id).state) not in _FINISHED
