"""What ``why`` shows of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cli.output import out, show, table
from babylon_tasks.cli.screen import describe
from babylon_tasks.counted import counted
from babylon_tasks.db.checkpoint_history import CheckpointHistory, CheckpointRow, ServedTime
from babylon_tasks.policy_names import policy_name


def checkpoint_lines(history: CheckpointHistory) -> Iterator[str]:
    """Say what it was made from, how it was examined, and when it served."""
    row, lineage = history.checkpoint, history.lineage
    name = policy_name(lineage, row.step)
    made = "is the base model" if row.step == 0 else _made(lineage, row)
    yield f"{name} {made}; {_state(row)}"
    for screen in history.screens:
        yield describe(lineage, screen)
    for trial in history.trials:
        yield (
            f"trial of comparison {trial.comparison}: {counted(trial.windows, 'window')}, "
            f"{trial.first} to {trial.last}; the last led to {trial.conclusion}"
        )
    for time in history.served:
        yield _served(time)


def show_checkpoint(history: CheckpointHistory) -> None:
    """Print a checkpoint's life."""
    lineage = history.lineage
    for line in checkpoint_lines(history):
        show(line)
    if history.arms:
        out.print()
        arms = ((one.from_window, one.arm, f"{one.share:.0%}") for one in history.arms)
        table("arms", ("from", "arm", "share"), arms)
    if history.decisions:
        out.print()
        decisions = (
            (
                one.decided_at,
                one.decision,
                policy_name(lineage, one.from_step),
                policy_name(lineage, one.to_step),
                one.actor if one.actor.startswith("cli:") else None,
                one.reason,
            )
            for one in history.decisions
        )
        table("decisions", ("when (UTC)", "decision", "served", "about", "who", "why"), decisions)


def _made(lineage: str, row: CheckpointRow) -> str:
    windows = ", ".join(row.windows) or "no window"
    parent = policy_name(lineage, row.step - 1 if row.parent is None else row.parent)
    return f"was made at {row.created_at:%F %T} from {parent} and {windows}"


def _state(row: CheckpointRow) -> str:
    if row.serves:
        return "it serves"
    ends = (
        ("discarded at the backend", row.discarded_at),
        ("of a dead branch", row.dead_at),
        ("pruned", row.pruned_at),
    )
    gone = [f"{what} since {at:%F %T}" for what, at in ends if at is not None]
    return f"it is {', '.join(gone)}" if gone else "it does not serve"


def _served(time: ServedTime) -> str:
    if time.end is None:
        return f"has served since {time.begin:%F %T}"
    because = f"; shown by {', '.join(time.windows)}" if time.windows else ""
    return (
        f"served from {time.begin:%F %T} to {time.end:%F %T}, until {time.ended_by}: "
        f"{time.ended_why}{because}"
    )
