"""States of windows and steps, and the only legal changes between them."""

from __future__ import annotations

from enum import StrEnum

from babylon_tasks.errors import IllegalTransition


class WindowState(StrEnum):
    """Where a window stands; see ``WINDOW_TRANSITIONS`` for the ways between."""

    OPEN = "open"
    SEALED = "sealed"
    SCORING = "scoring"
    SCORED = "scored"
    TRAINING = "training"
    TRAINED = "trained"
    HELD_OUT = "held_out"
    SKIPPED = "skipped"
    FAILED = "failed"


class StepState(StrEnum):
    """Where a training step stands; see ``STEP_TRANSITIONS``."""

    PLANNED = "planned"
    RUNNING = "running"
    TRAINED = "trained"
    COMMITTED = "committed"
    FAILED = "failed"


# `scoring -> sealed` and `training -> scored` are the ways back after a lost claim, `training ->
# scored` also where a step has taken only a part; `scored | held_out | skipped -> sealed` is
# scoring anew, with a new reward version; `failed -> sealed | scored` is the retry by hand.
WINDOW_TRANSITIONS: dict[WindowState, frozenset[WindowState]] = {
    WindowState.OPEN: frozenset({WindowState.SEALED}),
    WindowState.SEALED: frozenset({WindowState.SCORING, WindowState.FAILED}),
    WindowState.SCORING: frozenset(
        {
            WindowState.SCORED,
            WindowState.HELD_OUT,
            WindowState.TRAINED,
            WindowState.SKIPPED,
            WindowState.FAILED,
            WindowState.SEALED,
        }
    ),
    WindowState.SCORED: frozenset(
        {
            WindowState.TRAINING,
            WindowState.TRAINED,
            WindowState.SKIPPED,
            WindowState.FAILED,
            WindowState.SEALED,
        }
    ),
    WindowState.TRAINING: frozenset(
        {WindowState.TRAINED, WindowState.SCORED, WindowState.SKIPPED, WindowState.FAILED}
    ),
    WindowState.TRAINED: frozenset(),
    WindowState.HELD_OUT: frozenset({WindowState.SEALED}),
    WindowState.SKIPPED: frozenset({WindowState.SEALED}),
    WindowState.FAILED: frozenset({WindowState.SEALED, WindowState.SCORED}),
}

STEP_TRANSITIONS: dict[StepState, frozenset[StepState]] = {
    StepState.PLANNED: frozenset({StepState.RUNNING, StepState.FAILED}),
    StepState.RUNNING: frozenset({StepState.TRAINED, StepState.FAILED}),
    StepState.TRAINED: frozenset({StepState.COMMITTED, StepState.FAILED}),
    StepState.COMMITTED: frozenset(),
    StepState.FAILED: frozenset(),
}


def check_window(current: WindowState, target: WindowState, window: str) -> None:
    """Raise IllegalTransition unless the table allows the change."""
    if target not in WINDOW_TRANSITIONS[current]:
        raise IllegalTransition(
            f"window {window} is {current} and cannot become {target}; "
            f"see `babylon-tasks why {window}`"
        )


def check_step(current: StepState, target: StepState, step: int) -> None:
    """Raise IllegalTransition unless the table allows the change."""
    if target not in STEP_TRANSITIONS[current]:
        raise IllegalTransition(f"step row {step} is {current} and cannot become {target}")
