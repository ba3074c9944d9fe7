"""What is read for the report of a lineage's run."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from babylon_tasks.decisions import Decision


class RunWindow(Struct, frozen=True, kw_only=True):
    """A window as a lineage sees it; ``right_share`` of the bets whose outcome is known."""

    window: str
    state: str
    reason: str | None
    agents: int | None
    trajectories: int | None
    scored: int | None
    reward_mean: float | None
    reward_std: float | None
    right_share: float | None


class RunRejections(Struct, frozen=True):
    """How many trajectories of a window are not used, for one reason."""

    window: str
    reason: str
    count: int


class RunCommit(Struct, frozen=True):
    """A committed step and the newest window that it took."""

    step: int
    window: str
    committed_at: datetime


class RunDecision(Struct, frozen=True, kw_only=True):
    """A decision about a checkpoint.

    ``value``, ``serving_value`` and ``base_value`` are of ``to_step``, of ``from_step`` and of the
    base model on the same held-out groups; None where they were not evaluated. ``refused``: it
    refused the checkpoint for good.
    """

    decision: Decision
    from_step: int
    to_step: int
    reason: str
    actor: str
    decided_at: datetime
    refused: bool
    value: float | None
    serving_value: float | None
    base_value: float | None


class RunScreen(Struct, frozen=True, kw_only=True):
    """A screen that has ended: shares of valid and right answers, of the candidate and of the other
    that it was compared with."""

    step: int
    serving_step: int
    against: str
    result: str
    ended_at: datetime
    valid: float | None
    valid_other: float | None
    right: float | None
    right_other: float | None


class RunConclusion(Struct, frozen=True):
    """A window of a comparison that changed something: why, and what was done."""

    comparison: int
    window: str
    conclusion: str
    why: str | None
    done: str | None


class RunRows(Struct, frozen=True):
    """What was read; windows and commits in the order of time, the rest as it was written.

    ``left_out``: older windows that were too many.
    """

    windows: list[RunWindow]
    rejections: list[RunRejections]
    commits: list[RunCommit]
    decisions: list[RunDecision]
    screens: list[RunScreen]
    conclusions: list[RunConclusion]
    left_out: int = 0
