"""``warm-start``: plan a supervised step on the better part of what was recorded."""

from __future__ import annotations

from typing import Annotated

import typer

from babylon_tasks.cli.context import actor, begin, database
from babylon_tasks.cli.moments import Since, since_hour
from babylon_tasks.cli.output import (
    LISTED,
    AsJson,
    as_json,
    refuse,
    say,
    show,
    show_counts,
)
from babylon_tasks.counted import counted
from babylon_tasks.pipeline.warm_start import WarmStart
from babylon_tasks.pipeline.warm_start import warm_start as plan


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command("warm-start")(warm_start)


def warm_start(
    since: Since = None,
    top: Annotated[
        float,
        typer.Option(
            min=0.01, max=1.0, help="The share of each group that counts as its better part."
        ),
    ] = 0.25,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what it would use.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Plan one supervised step on the better part of each group, whoever answered.

    The gpu-worker runs it, evaluates the result and promotes or holds it, as after any step. Each
    trajectory is used once; what is left out stays as it was.
    JSON: {step or null, refused: reason or null, windows, groups, trajectories, calls, tokens (an
    estimate), gradient_steps, learning_rate, models: {name: calls}, left_out: {reason: n},
    too_long: [trajectory], other_windows: {state: n}, more}.
    """
    settings = begin()
    starts = since_hour(settings, since)
    with database(settings):  # with this code's schema
        pass
    found = plan(settings, since=starts, top_share=top, dry_run=dry_run, actor=actor())
    if json:
        as_json(found)
    elif found.refused is None:
        _show(found, dry_run=dry_run)
    if found.refused is not None:
        refuse(found.refused)


def _show(found: WarmStart, *, dry_run: bool) -> None:
    if found.calls:
        span = found.windows[0] + (f" to {found.windows[-1]}" if len(found.windows) > 1 else "")
        show(
            f"{counted(found.calls, 'call')} (about {found.tokens} tokens) of "
            f"{counted(found.trajectories, 'trajectory')} in {counted(found.groups, 'group')} of "
            f"{counted(len(found.windows), 'window')}, {span}"
        )
    else:
        show("nothing to learn from")
    for what, counts in (
        ("calls by model", found.models),
        ("left out", found.left_out),
        ("windows that were not looked at", found.other_windows),
    ):
        show_counts(what, counts)
    if found.too_long:
        others = f" and {n} others: see --json" if (n := len(found.too_long) - LISTED) > 0 else ""
        show(f"too long are calls of {', '.join(found.too_long[:LISTED])}{others}")
        say("BABYLON_PACKED_SEQUENCE_LENGTH is the most tokens of a call")
    if found.more:
        say("there is more: BABYLON_SUPERVISED_CALLS is the most for one step; run it again later")
    if not found.calls:
        return
    how = (
        f"{counted(found.gradient_steps, 'gradient step')} at learning rate {found.learning_rate:g}"
    )
    if dry_run:
        show(f"would be one step of {how}; nothing was written")
    else:
        show(f"step {found.step} is planned: {how}")
        say("the gpu-worker runs it soon; `babylon-tasks train` runs it here")
