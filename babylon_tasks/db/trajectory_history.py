"""What has become of one trajectory: scored, used, rejected, due, or why its hour has no window."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from babylon_tasks.db import unopened_windows, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_one
from babylon_tasks.db.windows import Window
from babylon_tasks.reasons import Reason, UnopenedReason
from babylon_tasks.states import WindowState
from babylon_tasks.windows import is_window_id

_NOT_SCORED_YET = (WindowState.OPEN, WindowState.SEALED, WindowState.SCORING)


class TrajectoryScore(Struct, frozen=True):
    """A reward of a trajectory in a window."""

    window: str
    reward_version: int
    reward: float
    group_key: str
    scorer: str


class TrajectoryRejection(Struct, frozen=True):
    """A rejection of a trajectory in a window; ``lineage`` is None where it is for all."""

    window: str
    reward_version: int
    stage: str
    reason: str
    detail: str | None
    lineage: str | None


class TrajectoryUse(Struct, frozen=True):
    """The use of a trajectory by a lineage; ``step`` is None where no step took it.

    ``dead_at``: since when the step's branch is dead, so that another one may use it.
    """

    lineage: str
    window: str
    reward_version: int
    use: str
    step: int | None
    dead_at: datetime | None


class TrajectoryHistory(Struct, frozen=True):
    """What has become of a trajectory; ``window`` is None once Babylon has deleted its row.

    ``account``: ``scored``, ``used``, ``failed``, ``due``, or the reason why it is not used;
    ``detail`` explains it. The other fields are of every window that it has been in.
    """

    trajectory_id: str
    window: str | None
    account: str
    detail: str
    scores: list[TrajectoryScore]
    rejections: list[TrajectoryRejection]
    uses: list[TrajectoryUse]


class _Row(Struct, frozen=True):
    window: str
    has_window: bool
    pruned_at: datetime | None
    unopened: UnopenedReason | None


def trajectory_history(
    connection: Connection, trajectory: str, *, lineage: str
) -> TrajectoryHistory | None:
    """Read all about one trajectory as a lineage sees it; None if nothing is known of it."""
    row = fetch_one(connection, "trajectory_history.row", _Row, trajectory=trajectory)
    asked = {"trajectory": trajectory}
    scores = fetch_all(connection, "trajectory_history.scores", TrajectoryScore, **asked)
    rejections = fetch_all(
        connection, "trajectory_history.rejections", TrajectoryRejection, **asked
    )
    uses = fetch_all(connection, "trajectory_history.uses", TrajectoryUse, **asked)
    if row is None and not (scores or rejections or uses):
        return None
    if row is None:
        account, detail = str(Reason.DELETED), "Babylon has deleted its row"
    elif row.pruned_at is not None:
        account = str(Reason.HOUR_PRUNED)
        detail = (
            f"the rows of its hour were pruned at {row.pruned_at:%F %T} UTC: `babylon-tasks why "
            f"{row.window}` has their counts, and none that comes later is used"
        )
    elif row.has_window:
        window = windows.get(connection, row.window, lineage=lineage)
        account, detail = _in_window(window, lineage, scores, rejections, uses)
    else:
        account, detail = _without_window(row)
    return TrajectoryHistory(
        trajectory_id=trajectory,
        window=None if row is None else row.window,
        account=account,
        detail=detail,
        scores=scores,
        rejections=rejections,
        uses=uses,
    )


def _in_window(
    window: Window,
    lineage: str,
    scores: list[TrajectoryScore],
    rejections: list[TrajectoryRejection],
    uses: list[TrajectoryUse],
) -> tuple[str, str]:
    here = (window.window_id, window.reward_version)
    state = f"its hour is {window.state}" + (f": {window.reason}" if window.reason else "")
    for use in uses:
        if (use.lineage, use.window, use.dead_at) == (lineage, window.window_id, None):
            by = "no step" if use.step is None else f"step {use.step}"
            return "used", f"{use.use}, by {by} of lineage {lineage}"
    if window.state in _NOT_SCORED_YET:
        return "due", state
    if window.state is WindowState.FAILED and window.scored_at is None:
        return "failed", f"{state}; `babylon-tasks windows retry {window.window_id}` scores it"
    for rejection in rejections:
        if (rejection.window, rejection.reward_version) == here and rejection.lineage in (
            None,
            lineage,
        ):
            detail = rejection.detail or state
            return rejection.reason, f"at stage {rejection.stage}: {detail}"
    for score in scores:
        if (score.window, score.reward_version) == here:
            return "scored", f"{score.reward:.3f}, reward version {score.reward_version}; {state}"
    return "due", f"it came after its hour was scored: `reconcile` rejects it as {Reason.LATE}"


def _without_window(row: _Row) -> tuple[str, str]:
    reason = row.unopened
    if reason is None and not is_window_id(row.window):
        reason = UnopenedReason.BAD_WINDOW_ID
    if reason is None:
        return "due", "its hour is opened by the next `discover`, or why it is not is put on record"
    what = unopened_windows.meaning(reason)
    return str(reason), f"it is one of the {what}; {unopened_windows.todo(reason, row.window)}"
