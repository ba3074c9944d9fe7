"""One trajectory to look at: what was asked and answered, its reward, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from babylon_tasks.db import closeups, scored_trajectories, windows
from babylon_tasks.db.closeups import CapturedAnswer
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectory_history import TrajectoryHistory, trajectory_history
from babylon_tasks.decode.asked import AskedCall, asked_calls
from babylon_tasks.decode.errors import Undecodable, bounded
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.policy_names import policy_name
from babylon_tasks.records import AgentAction, RawTrajectory
from babylon_tasks.run_records import (
    CallCloseup,
    Extremes,
    PromptMessage,
    RewardCloseup,
    TrajectoryCloseup,
    WindowExtremes,
)
from babylon_tasks.settings import Settings
from babylon_tasks.windows import captures_span, is_window_id


def look_at_trajectory(
    connection: Connection, settings: Settings, trajectory: str
) -> TrajectoryCloseup | None:
    """Read a trajectory as the lineage sees it; None if nothing is known of it."""
    history = trajectory_history(connection, trajectory, lineage=settings.lineage)
    if history is None:
        return None
    rows = scored_trajectories.rows(connection, [trajectory], settings.max_steps_bytes)
    raw = rows.get(trajectory)
    calls, unreadable = _calls(raw, _captured(connection, history), Mask(settings))
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
    extremes = look_at_extremes(connection, settings, [window.window_id], best=best, worst=worst)
    return WindowExtremes(
        window=window.window_id,
        state=window.state,
        reason=window.reason,
        scored=window.scored,
        best=extremes.best,
        worst=extremes.worst,
    )


def look_at_extremes(
    connection: Connection, settings: Settings, names: Sequence[str], *, best: int, worst: int
) -> Extremes:
    """Read the best and the worst of some windows."""
    found = closeups.extremes(connection, names, best=best, worst=worst)
    read = [
        (one.best, look_at_trajectory(connection, settings, one.trajectory_id)) for one in found
    ]
    return Extremes(
        best=[one for is_best, one in read if is_best and one is not None],
        worst=[one for is_best, one in read if not is_best and one is not None],
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


def _captured(connection: Connection, history: TrajectoryHistory) -> dict[int, CapturedAnswer]:
    """Read what was joined to its calls, in the hours in which scoring has looked for it."""
    scored = [one.window for one in history.scores]
    rejected = [one.window for one in history.rejections]
    found: dict[int, CapturedAnswer] = {}
    for window in {history.window, *scored, *rejected}:
        if window is not None and is_window_id(window):
            since, until = captures_span(window)
            found |= closeups.captured(connection, history.trajectory_id, since, until)
    return found


def _calls(
    raw: RawTrajectory | None, captured: Mapping[int, CapturedAnswer], mask: Mask
) -> tuple[list[CallCloseup], str | None]:
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
    calls = [_call(one, captured.get(one.place), mask) for one in asked]
    return calls, None if asked else "no LLM call is recorded"


def _call(asked: AskedCall, captured: CapturedAnswer | None, mask: Mask) -> CallCloseup:
    """Say who answered by what the gateway saw, rather than by what the agent recorded."""
    call = asked.call
    step = call.policy_step if captured is None else captured.step
    model = call.model
    if captured is not None:
        lineage = captured.lineage
        model = captured.model or call.model if step is None else policy_name(lineage, step)
    return CallCloseup(
        model=mask.text(model),
        policy_step=step,
        prompt=[PromptMessage(role, mask.text(text)) for role, text in call.messages],
        answer=mask.text(call.response),
        action=None if asked.action is None else mask.text(_done(asked.action)),
    )


def _done(action: AgentAction) -> str:
    words = (action.action_type, action.side, action.market_id or action.ticker)
    done = " ".join(word for word in words if word)
    return done if action.success else f"{done} (failed)"
