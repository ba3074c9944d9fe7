"""What a run's rows become: curves, marks, and what served."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

OTHERS = "others"


class Rewards(Struct, frozen=True):
    """The mean reward and its standard deviation among trajectories."""

    mean: float
    deviation: float


class RunPoint(Struct, frozen=True):
    """A window, or some in a row by the name of the first; ``rejected`` by reason.

    ``backlog``: the windows that were sealed and not done when this one was sealed, ``hours``: how
    long it took from its seal to a step or to being set apart, the most of some.
    """

    window: str
    reward: Rewards | None
    right: float | None
    rejected: tuple[int, ...]
    backlog: int | None = None
    hours: float | None = None


class HeldOutPoint(Struct, frozen=True):
    """What a checkpoint, the one that served and the base model came to."""

    window: str
    value: float | None
    serving: float | None
    base: float | None


class ScreenPoint(Struct, frozen=True):
    """Shares of a candidate's answers and of the other's, in a screen."""

    window: str
    valid: float | None
    valid_other: float | None
    right: float | None
    right_other: float | None


class RunMarkKind(StrEnum):
    """What a mark says; the picture has a line for each."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    NOT_PROMOTED = "not promoted"
    ROLLED_BACK = "rolled back"
    COMPARED = "comparison"


class RunMark(Struct, frozen=True):
    """Something that changed what serves, or refused to; ``step`` is the checkpoint it is about.

    ``when``: of a decision, not of its window.
    """

    window: str
    kind: RunMarkKind
    step: int | None
    why: str
    when: datetime | None = None


class ServedFrom(Struct, frozen=True):
    """A checkpoint that serves from a window on, until the next one; ``when`` it began to."""

    window: str
    step: int
    when: datetime | None


class RunHistory(Struct, frozen=True, kw_only=True):
    """Curves of ``together`` windows a point, and marks in the order of windows.

    ``reasons`` names what each point was rejected for, ``rejected`` counts all of it. ``served``:
    in order; the first one did before any decision.
    """

    windows: int
    left_out: int
    first: str
    last: str
    together: int
    points: list[RunPoint]
    reasons: tuple[str, ...]
    rejected: dict[str, int]
    held_out: list[HeldOutPoint]
    screens: list[ScreenPoint]
    marks: list[RunMark]
    served: list[ServedFrom]
