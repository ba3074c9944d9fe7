"""One trajectory to look at: what was asked and answered, its reward, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from babylon_tasks.db import closeups, scored_trajectories, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectory_history import trajectory_history
from babylon_tasks.decode.asked import AskedCall, asked_calls
from babylon_tasks.decode.errors import Undecodable, bounded
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.records import AgentAction, RawTrajectory
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState


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


class WindowExtremes(Struct, frozen=True):
    """A window by its best and its worst trajectories, of those that were scored."""

    window: str
    state: WindowState
    reason: str | None
    scored: int | None
    best: list[TrajectoryCloseup]
    worst: list[TrajectoryCloseup]


def look_at_trajectory(
    connection: Connection, settings: Settings, trajectory: str
) -> TrajectoryCloseup | None:
    """Read a trajectory as the lineage sees it; None if nothing is known of it."""
    history = trajectory_history(connection, trajectory, lineage=settings.lineage)
    if history is None:
        return None
    rows = scored_trajectories.rows(connection, [trajectory], settings.max_steps_bytes)
    raw = rows.get(trajectory)
    calls, unreadable = _calls(raw, Mask(settings))
    return TrajectoryCloseup(
        trajectory_id=trajectory,
        window=history.window,
        agent_id=None if raw is None else raw.agent_id,
        account=history.account,
        detail=history.detail,
        reward=_reward(connection, trajectory),
        calls=calls,
        unreadable=unreadable,
    )


def look_at_window(
    connection: Connection, settings: Settings, name: str, *, best: int, worst: int
) -> WindowExtremes:
    """Read the best and the worst of a window; raises BadWindowId, WindowNotFound."""
    window = windows.get(connection, name, lineage=settings.lineage)
    found = closeups.extremes(
        connection, window.window_id, window.reward_version, best=best, worst=worst
    )

    def read(ids: Sequence[str]) -> list[TrajectoryCloseup]:
        found = (look_at_trajectory(connection, settings, one) for one in ids)
        return [one for one in found if one is not None]

    return WindowExtremes(
        window=window.window_id,
        state=window.state,
        reason=window.reason,
        scored=window.scored,
        best=read([one.trajectory_id for one in found if one.best]),
        worst=read([one.trajectory_id for one in found if not one.best][::-1]),
    )


def _reward(connection: Connection, trajectory: str) -> RewardCloseup | None:
    found = closeups.score(connection, trajectory)
    if found is None:
        return None
    comparable = closeups.comparable_rewards(connection, found)
    return RewardCloseup(
        reward=found.reward,
        reward_version=found.reward_version,
        scorer=found.scorer,
        parts=found.components,
        group_key=found.group_key,
        place=1 + sum(one > found.reward for one in comparable),
        comparable=comparable,
    )


def _calls(raw: RawTrajectory | None, mask: Mask) -> tuple[list[CallCloseup], str | None]:
    """Read the calls of a row, or say why that is not possible."""
    if raw is None:
        return [], "Babylon has deleted its row"
    if raw.steps_json is None:
        return [], f"stepsJson has {raw.steps_bytes} bytes, more than BABYLON_MAX_STEPS_BYTES"
    try:
        asked = asked_calls(raw)
    except Undecodable as error:
        return [], error.detail
    except (RecursionError, ValueError) as error:
        return [], f"stepsJson cannot be read: {bounded(str(error))}"
    return [_call(one, mask) for one in asked], None if asked else "no LLM call is recorded"


def _call(asked: AskedCall, mask: Mask) -> CallCloseup:
    call = asked.call
    return CallCloseup(
        model=mask.text(call.model),
        policy_step=call.policy_step,
        prompt=[PromptMessage(role, mask.text(text)) for role, text in call.messages],
        answer=mask.text(call.response),
        action=None if asked.action is None else mask.text(_done(asked.action)),
    )


def _done(action: AgentAction) -> str:
    words = (action.action_type, action.side, action.market_id or action.ticker)
    done = " ".join(word for word in words if word)
    return done if action.success else f"{done} (failed)"
