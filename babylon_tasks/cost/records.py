"""What is on record of a lineage's costs, and the prices."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class CostKind(StrEnum):
    """What money is spent on. Answers to agents are no cost of learning."""

    TRAINING = "training"
    RULER = "judge"
    SCREENS = "screens"
    ANSWERS = "answers"


LEARNING = frozenset({CostKind.TRAINING, CostKind.RULER, CostKind.SCREENS})


class Prices(Struct, frozen=True, kw_only=True):
    """In US dollars, for an hour or a million tokens; None: not known."""

    gpu_hour: float | None = None
    wandb_training_hour: float | None = None
    wandb_prompt: float | None = None
    wandb_completion: float | None = None
    ruler_prompt: float | None = None
    ruler_completion: float | None = None


class MeasuredRun(Struct, frozen=True):
    """A run of a step, by the moment of its end; ``seconds`` is None if its worker was lost."""

    step_id: int
    step: int
    backend: str
    moment: datetime
    seconds: float | None


class GradedWindow(Struct, frozen=True):
    """What the judge was paid for; ``usd`` by litellm, where it knows a price.

    ``uncounted`` answers are in neither: their tokens were not said, or nothing that can be.
    """

    window: str
    moment: datetime
    model: str
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    uncounted: int = 0


class CountedAnswers(Struct, frozen=True, kw_only=True):
    """Answers that were counted together, and how many of them lack a number of tokens.

    ``step``: the candidate of a screen, which asked ``questions``; agents' answers have neither.
    """

    moment: datetime
    backend: str
    answers: int
    without_prompt: int
    without_completion: int
    prompt_tokens: int
    completion_tokens: int
    step: int | None = None
    questions: int | None = None


class StepTook(Struct, frozen=True):
    """A step's windows, and how many trajectories it took of each, if that is still listed."""

    step_id: int
    step: int
    state: str
    windows: list[str]
    trajectories: dict[str, int] | None


class Promoted(Struct, frozen=True):
    """A promotion; ``gain``: of the objective, on the same held-out groups."""

    step: int
    moment: datetime
    gain: float | None


class CostRecords(Struct, frozen=True):
    """All that is on record from a moment on; None: from the beginning.

    Learning and promotions begin with the last promotion before ``since``, so that the first one
    after it has its whole price.
    """

    runs: list[MeasuredRun]
    gradings: list[GradedWindow]
    screens: list[CountedAnswers]
    answers: list[CountedAnswers]
    steps: list[StepTook]
    promotions: list[Promoted]
    since: datetime | None = None
