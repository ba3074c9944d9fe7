"""The types that all layers share; frozen, typed, without behaviour."""

from __future__ import annotations

from msgspec import Struct


class RawTrajectory(Struct, frozen=True, gc=False):
    """A row of Babylon's ``trajectories`` as read, undecoded.

    ``steps_json`` is None where the row exceeds the size limit; ``steps_bytes`` tells its size.
    """

    trajectory_id: str
    agent_id: str
    scenario_id: str | None
    steps_json: bytes | str | None
    steps_bytes: int
    final_pnl: float | None
    is_evaluation: bool
    is_training_data: bool
    already_used: bool = False


class LlmCall(Struct, frozen=True, gc=False):
    """One LLM call, verbatim as the agent made it.

    ``messages`` are (role, content) pairs up to, not including, the response.
    ``logprobs`` holds one natural-log probability per response token, ``token_ids`` its ids.
    """

    model: str
    messages: tuple[tuple[str, str], ...]
    response: str
    temperature: float
    policy_step: int | None = None
    logprobs: tuple[float, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    tokens: tuple[str, ...] | None = None


class Decision(Struct, frozen=True, gc=False):
    """What one step did: the facts that scoring needs."""

    action_type: str
    success: bool
    market_id: str | None = None
    ticker: str | None = None
    side: str | None = None
    correct: bool | None = None  # as recorded in action.correctness; None: not known there


class Trajectory(Struct, frozen=True, gc=False):
    """A decoded trajectory. ``first_pnl``/``last_pnl``: cumulative, taken before the action."""

    trajectory_id: str
    agent_id: str
    scenario_id: str | None
    first_pnl: float | None
    last_pnl: float | None
    final_pnl: float | None
    decisions: tuple[Decision, ...]
    calls: tuple[LlmCall, ...]


class Outcome(Struct, frozen=True, gc=False):
    """How a market ended: ``yes`` for a prediction market, ``change`` (percent) for a stock."""

    yes: bool | None = None
    change: float | None = None


class Outcomes(Struct, frozen=True):
    """What is known of how markets ended, by prediction market id and by stock ticker."""

    markets: dict[str, Outcome]
    tickers: dict[str, Outcome]


class Score(Struct, frozen=True, gc=False):
    """A reward in [0, 1] and the components it was blended from (absent: no evidence)."""

    reward: float
    components: dict[str, float]


class Rejection(Struct, frozen=True, gc=False):
    """Why a trajectory is not used; ``detail`` is for a human, bounded in length."""

    trajectory_id: str
    stage: str
    reason: str
    detail: str | None = None


class ScoredTrajectory(Struct, frozen=True, gc=False):
    """A trajectory with the reward it was given: what groups are built from."""

    trajectory: Trajectory
    window_id: str
    group_key: str
    reward: float
    reward_version: int


class Member(Struct, frozen=True, gc=False):
    """One trajectory inside a group. Each call is a conversation of its own."""

    trajectory_id: str
    reward: float
    calls: tuple[LlmCall, ...]


class Group(Struct, frozen=True, gc=False):
    """The trajectories that GRPO compares with each other: same window, same scenario."""

    window_id: str
    key: str
    members: tuple[Member, ...]
