"""States of windows and steps, and the only legal changes between them.

Every change is made by the statement that its transition names; the states before and after are
taken from here: ``db/steps.py`` (``advance``), ``db/window_transitions.py`` (``move``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
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


class StepMethod(StrEnum):
    """How a step learns: by comparison inside groups, or by making recorded answers likelier."""

    GRPO = "grpo"
    SUPERVISED = "supervised"


class StepTransition(Struct, frozen=True):
    """A change of a step: the statement of this name in ``steps.sql``, and the event it records.

    ``target`` is None if the state stays. ``attempts`` is added to those of the step and its
    windows.
    """

    name: str
    sources: Set[StepState]
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
    sources: Set[WindowState]
    targets: Mapping[WindowState, EventKind | None]


S, W, E = StepState, WindowState, EventKind
UNFINISHED = frozenset({S.PLANNED, S.RUNNING, S.TRAINED})

START = StepTransition("start", {S.PLANNED}, S.RUNNING, E.STEP_RUNNING)
RESTART = StepTransition("restart", {S.PLANNED, S.RUNNING}, S.RUNNING, E.STEP_RUNNING, attempts=1)
TAKE_OVER = StepTransition("take_over", UNFINISHED, None, E.STEP_TAKEN_OVER)
POSTPONE = StepTransition("postpone", {S.RUNNING}, None, E.STEP_POSTPONED)
# As both, where the step must wait because of what is not its windows' fault.
POSTPONE_FREE = StepTransition("postpone_free", {S.RUNNING}, None, E.STEP_INTERRUPTED, attempts=-1)
# An interruption from outside does not count as an attempt.
INTERRUPT = StepTransition("interrupt", {S.RUNNING}, None, E.STEP_INTERRUPTED, attempts=-1)
VERIFY = StepTransition("verify", {S.RUNNING}, S.TRAINED, E.STEP_TRAINED)
COMMIT = StepTransition("commit", {S.TRAINED}, S.COMMITTED, E.STEP_COMMITTED)
FAIL = StepTransition("fail", UNFINISHED, S.FAILED, E.STEP_FAILED)

STEP_TRANSITIONS = (
    *(START, RESTART, TAKE_OVER, POSTPONE, POSTPONE_FREE, INTERRUPT),
    *(VERIFY, COMMIT, FAIL),
)

SEAL = WindowTransition("seal", "open_and_seal.seal", {W.OPEN}, {W.SEALED: E.SEALED})
CLAIM = WindowTransition("claim", "scoring.claim", {W.SEALED}, {W.SCORING: None})
FINISH = WindowTransition(
    "finish",
    "scoring.finish",
    {W.SCORING},
    {W.SCORED: E.SCORED, W.HELD_OUT: E.HELD_OUT, W.TRAINED: E.TRAINED, W.SKIPPED: E.SKIPPED},
)
GIVE_BACK = WindowTransition(
    "give back",
    "scoring.give_back",
    {W.SCORING},
    {W.SEALED: E.SCORING_FAILED, W.FAILED: E.SCORING_FAILED},
)
EXPIRE = WindowTransition(
    "expire", "window_transitions.move", {W.SCORING}, {W.SEALED: E.CLAIM_LOST, W.FAILED: E.FAILED}
)
# For a new reward version.
SEAL_AGAIN = WindowTransition(
    "seal again",
    "reward_versions.seal_again",
    {W.SCORED, W.HELD_OUT, W.SKIPPED},
    {W.SEALED: E.SCORE_ANEW},
)
# The event is the step's.
TAKE = WindowTransition("take", "step_windows.take", {W.SCORED}, {W.TRAINING: None})
# The end of its part in a committed step, and in a failed one.
END = WindowTransition(
    "end",
    "step_windows.end",
    {W.TRAINING},
    {W.TRAINED: E.TRAINED, W.SCORED: E.TRAINED_IN_PART},
)
FREE = WindowTransition(
    "free",
    "window_transitions.move",
    {W.TRAINING},
    {W.SCORED: E.TRAINING_FAILED, W.FAILED: E.FAILED},
)
# Nothing is left of it.
CLOSE = WindowTransition(
    "close", "window_transitions.move", {W.SCORED}, {W.TRAINED: E.TRAINED, W.SKIPPED: E.SKIPPED}
)
# A supervised step takes answers that GRPO's steps may not learn from.
REOPEN = WindowTransition("reopen", "window_transitions.move", {W.SKIPPED}, {W.SCORED: E.REOPENED})
# A step that has used it is of a branch that is dead now.
RETURN = WindowTransition(
    "return", "branches.return_window", {W.TRAINED, W.SCORED}, {W.SCORED: E.RETURNED}
)
# The trainer fails on it before a step is planned.
GIVE_UP = WindowTransition("give up", "window_transitions.move", {W.SCORED}, {W.FAILED: E.FAILED})
RETRY = WindowTransition(
    "retry", "window_transitions.retry", {W.FAILED}, {W.SEALED: E.RETRIED, W.SCORED: E.RETRIED}
)

WINDOW_TRANSITIONS = (
    *(SEAL, CLAIM, FINISH, GIVE_BACK, EXPIRE, SEAL_AGAIN),
    *(TAKE, END, FREE, CLOSE, REOPEN, RETURN, GIVE_UP, RETRY),
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
