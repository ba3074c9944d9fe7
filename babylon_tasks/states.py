"""States of windows and steps, and the only legal changes between them.

Every change is made by the statement that its transition names; the states before and after are
taken from here: ``db/steps.py`` (``advance``), ``db/windows.py`` (``move``).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from babylon_tasks.errors import IllegalTransition
from babylon_tasks.event_kinds import EventKind


class WindowState(StrEnum):
    """The state of a window; ``WINDOW_TRANSITIONS`` lists the changes."""

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
    """The state of a training step; ``STEP_TRANSITIONS`` lists the changes."""

    PLANNED = "planned"
    RUNNING = "running"
    TRAINED = "trained"
    COMMITTED = "committed"
    FAILED = "failed"


class StepTransition(Struct, frozen=True):
    """A change of a step: the statement of this name in ``steps.sql``, and the event it records.

    ``target`` is None if the state stays. ``attempts`` is added to those of the step and its
    windows.
    """

    name: str
    sources: frozenset[StepState]
    target: StepState | None
    event: EventKind
    attempts: int = 0


class WindowTransition(Struct, frozen=True):
    """A change of a window: its statement, ``noun.name`` of ``queries/<noun>.sql``.

    ``targets`` maps each possible new state to the event recorded for it, or None; the caller
    chooses one of them.
    """

    name: str
    statement: str
    sources: frozenset[WindowState]
    targets: dict[WindowState, EventKind | None]


def _steps(*states: StepState) -> frozenset[StepState]:
    return frozenset(states)


def _windows(*states: WindowState) -> frozenset[WindowState]:
    return frozenset(states)


_UNFINISHED = _steps(StepState.PLANNED, StepState.RUNNING, StepState.TRAINED)

START = StepTransition(
    "start", _steps(StepState.PLANNED), StepState.RUNNING, EventKind.STEP_RUNNING
)
RESTART = StepTransition(
    "restart",
    _steps(StepState.PLANNED, StepState.RUNNING),
    StepState.RUNNING,
    EventKind.STEP_RUNNING,
    attempts=1,
)
TAKE_OVER = StepTransition("take_over", _UNFINISHED, None, EventKind.STEP_TAKEN_OVER)
POSTPONE = StepTransition("postpone", _steps(StepState.RUNNING), None, EventKind.STEP_POSTPONED)
# An interruption from outside does not count as an attempt.
INTERRUPT = StepTransition(
    "interrupt", _steps(StepState.RUNNING), None, EventKind.STEP_INTERRUPTED, attempts=-1
)
VERIFY = StepTransition(
    "verify", _steps(StepState.RUNNING), StepState.TRAINED, EventKind.STEP_TRAINED
)
COMMIT = StepTransition(
    "commit", _steps(StepState.TRAINED), StepState.COMMITTED, EventKind.STEP_COMMITTED
)
FAIL = StepTransition("fail", _UNFINISHED, StepState.FAILED, EventKind.STEP_FAILED)

STEP_TRANSITIONS = (START, RESTART, TAKE_OVER, POSTPONE, INTERRUPT, VERIFY, COMMIT, FAIL)


SEAL = WindowTransition(
    "seal", "windows.seal", _windows(WindowState.OPEN), {WindowState.SEALED: EventKind.SEALED}
)
CLAIM = WindowTransition(
    "claim", "scoring.claim", _windows(WindowState.SEALED), {WindowState.SCORING: None}
)
FINISH = WindowTransition(
    "finish",
    "scoring.finish",
    _windows(WindowState.SCORING),
    {
        WindowState.SCORED: EventKind.SCORED,
        WindowState.HELD_OUT: EventKind.HELD_OUT,
        WindowState.TRAINED: EventKind.TRAINED,
        WindowState.SKIPPED: EventKind.SKIPPED,
    },
)
GIVE_BACK = WindowTransition(
    "give back",
    "scoring.give_back",
    _windows(WindowState.SCORING),
    {
        WindowState.SEALED: EventKind.SCORING_FAILED,
        WindowState.FAILED: EventKind.SCORING_FAILED,
    },
)
EXPIRE = WindowTransition(
    "expire",
    "windows.move",
    _windows(WindowState.SCORING),
    {WindowState.SEALED: EventKind.CLAIM_LOST, WindowState.FAILED: EventKind.FAILED},
)
SEAL_AGAIN = WindowTransition(  # a new reward version
    "seal again",
    "reward_versions.seal_again",
    _windows(WindowState.SCORED, WindowState.HELD_OUT, WindowState.SKIPPED),
    {WindowState.SEALED: EventKind.SCORE_ANEW},
)
TAKE = WindowTransition(  # the event is the step's
    "take", "step_windows.take", _windows(WindowState.SCORED), {WindowState.TRAINING: None}
)
END = WindowTransition(  # of its part in a committed step
    "end",
    "step_windows.end",
    _windows(WindowState.TRAINING),
    {WindowState.TRAINED: EventKind.TRAINED, WindowState.SCORED: EventKind.TRAINED_IN_PART},
)
FREE = WindowTransition(  # of a failed step
    "free",
    "windows.move",
    _windows(WindowState.TRAINING),
    {WindowState.SCORED: EventKind.TRAINING_FAILED, WindowState.FAILED: EventKind.FAILED},
)
CLOSE = WindowTransition(  # nothing is left of it
    "close",
    "windows.move",
    _windows(WindowState.SCORED),
    {WindowState.TRAINED: EventKind.TRAINED, WindowState.SKIPPED: EventKind.SKIPPED},
)
GIVE_UP = WindowTransition(  # the trainer fails on it before a step is planned
    "give up", "windows.move", _windows(WindowState.SCORED), {WindowState.FAILED: EventKind.FAILED}
)
RETRY = WindowTransition(
    "retry",
    "windows.retry",
    _windows(WindowState.FAILED),
    {WindowState.SEALED: EventKind.RETRIED, WindowState.SCORED: EventKind.RETRIED},
)

WINDOW_TRANSITIONS = (
    SEAL,
    CLAIM,
    FINISH,
    GIVE_BACK,
    EXPIRE,
    SEAL_AGAIN,
    TAKE,
    END,
    FREE,
    CLOSE,
    GIVE_UP,
    RETRY,
)


def check_step(current: StepState, transition: StepTransition, step: int) -> None:
    """Raise IllegalTransition if a step in this state cannot make the change."""
    if current not in transition.sources:
        raise IllegalTransition(
            f"step row {step} is {current}; to {transition.name} it, it must be "
            f"{listed(transition.sources)}; nothing was written"
        )


def check_window(transition: WindowTransition, target: WindowState, window: str) -> None:
    """Raise IllegalTransition if the change does not lead to this state."""
    if target not in transition.targets:
        raise IllegalTransition(
            f"to {transition.name} a window leads to {listed(transition.targets)}, not {target}; "
            f"nothing was written of window {window}"
        )


def listed(states: Iterable[StrEnum]) -> str:
    """Join states for a message: ``planned or running``."""
    return " or ".join(sorted(states))
