"""What is read for the report of a lineage's run, and of one trajectory to look at."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from babylon_tasks.decisions import Decision
from babylon_tasks.states import StepMethod, StepState, WindowState


class RunWindow(Struct, frozen=True, kw_only=True):
    """A window as a lineage sees it; ``right_share`` of the bets whose outcome is known.

    ``done_at``: when a step had taken it, or when it was set apart, skipped or failed. ``idle``:
    what a scored one waits for before a step may take it: outcomes, new_rewards, or somebody's word
    on a tripwire.
    """

    window: str
    state: str
    reason: str | None
    agents: int | None
    trajectories: int | None
    scored: int | None
    reward_mean: float | None
    reward_std: float | None
    right_share: float | None
    sealed_at: datetime | None = None
    done_at: datetime | None = None
    idle: str | None = None


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


class RunCheckpoint(Struct, frozen=True, kw_only=True):
    """A checkpoint; ``value``: of its newest evaluation, ``parent`` is None for the base model."""

    step: int
    parent: int | None
    serves: bool
    value: float | None
    dead_at: datetime | None
    pruned_at: datetime | None


class PairedValues(Struct, frozen=True):
    """Two checkpoints' values on the same held-out groups, in the same order."""

    now: list[float]
    before: list[float]


class RunStep(Struct, frozen=True, kw_only=True):
    """A step with its manifest in short; ``groups`` and ``trajectories`` are None where that is no
    longer listed, ``seconds``: of its last run."""

    step: int
    parent: int
    state: StepState
    method: StepMethod
    backend: str
    windows: list[str]
    manifest_hash: str
    groups: int | None
    trajectories: int | None
    gradient_steps: int | None
    trainable_tokens: int | None
    metrics: dict[str, Any]
    attempts: int
    planned_at: datetime
    seconds: float | None
    adapter_hash: str | None
    error: str | None


class RunGroup(Struct, frozen=True):
    """Trajectories of a window that were asked the same, and their rewards in the same order."""

    window: str
    key: str
    members: list[str]
    rewards: list[float]


class RunRows(Struct, frozen=True):
    """What was read; windows and commits in the order of time, the rest as it was written.

    ``left_out``: older windows that were too many. ``steps``: the newest ones,
    whatever became of them, beside how many older ones there are; ``checkpoints`` likewise.
    """

    windows: list[RunWindow]
    rejections: list[RunRejections]
    commits: list[RunCommit]
    decisions: list[RunDecision]
    screens: list[RunScreen]
    conclusions: list[RunConclusion]
    left_out: int = 0
    steps: list[RunStep] = []
    steps_left_out: int = 0
    checkpoints: list[RunCheckpoint] = []
    checkpoints_left_out: int = 0


class PromptMessage(Struct, frozen=True):
    """A message of a prompt."""

    role: str
    text: str


class CallCloseup(Struct, frozen=True):
    """An answer that was acted upon; ``action`` is None where none was recorded."""

    model: str
    policy_step: int | None
    prompt: list[PromptMessage]
    answer: str
    action: str | None


class RewardCloseup(Struct, frozen=True):
    """A reward with its parts; ``place`` counts from the best of its comparable trajectories."""

    reward: float
    reward_version: int
    scorer: str
    parts: dict[str, Any]
    group_key: str
    place: int
    comparable: list[float]


class TrajectoryCloseup(Struct, frozen=True):
    """All that is shown of a trajectory; secrets in its texts are masked.

    ``account`` and ``detail`` say which step used it or why none did. ``unreadable``: why there
    are no calls.
    """

    trajectory_id: str
    window: str | None
    agent_id: str | None
    account: str
    detail: str
    reward: RewardCloseup | None
    calls: list[CallCloseup]
    unreadable: str | None


class Extremes(Struct, frozen=True):
    """The best and the worst of some trajectories, the most extreme first; none is both."""

    best: list[TrajectoryCloseup]
    worst: list[TrajectoryCloseup]


class WindowExtremes(Struct, frozen=True):
    """A window by its best and its worst trajectories, of those that were scored."""

    window: str
    state: WindowState
    reason: str | None
    scored: int | None
    best: list[TrajectoryCloseup]
    worst: list[TrajectoryCloseup]
