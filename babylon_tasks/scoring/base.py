"""What a scorer is, and which one the settings name."""

from __future__ import annotations

from typing import ClassVar, Protocol

from babylon_tasks.errors import SettingsError
from babylon_tasks.records import Outcomes, Rejection, Score, Trajectory
from babylon_tasks.settings import Settings

STAGE = "score"


class Scorer(Protocol):
    """A pure function with a name. ``version`` changes whenever the same input scores otherwise."""

    name: ClassVar[str]
    version: ClassVar[str]

    def __init__(self, settings: Settings) -> None: ...

    def score(self, trajectory: Trajectory, outcomes: Outcomes) -> Score | Rejection:
        """The reward with its components, or the reason why there is none; never an exception."""
        ...


SCORERS: dict[str, type[Scorer]] = {}


def register(scorer: type[Scorer]) -> type[Scorer]:
    """Class decorator: make a scorer known under its name."""
    SCORERS[scorer.name] = scorer
    return scorer


def load_scorer(settings: Settings) -> Scorer:
    """The scorer that ``settings.scorer`` names; raises SettingsError."""
    # Imported here, not above: the scorers import this module to register themselves.
    from babylon_tasks.scoring import default, profit  # noqa: F401

    try:
        return SCORERS[settings.scorer](settings)
    except KeyError:
        raise SettingsError(
            f"BABYLON_SCORER={settings.scorer} is not a scorer; choose one of: {', '.join(SCORERS)}"
        ) from None


def no_evidence(trajectory: Trajectory, detail: str) -> Rejection:
    """The one rejection that every scorer needs."""
    return Rejection(trajectory.trajectory_id, STAGE, "no_evidence", detail)
