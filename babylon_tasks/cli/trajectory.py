"""What ``why`` shows of one trajectory."""

from __future__ import annotations

from babylon_tasks.cli.output import out, show, table
from babylon_tasks.db.trajectory_history import TrajectoryHistory


def show_trajectory(history: TrajectoryHistory) -> None:
    """Print what has become of a trajectory, and every window that it has been in."""
    where = "" if history.window is None else f" of {history.window}"
    show(f"trajectory {history.trajectory_id}{where} is {history.account}: {history.detail}")
    if history.scores:
        out.print()
        scores = ((s.window, s.reward_version, s.reward, s.scorer) for s in history.scores)
        table("scores", ("window", "version#", "reward#", "scorer"), scores)
    if history.rejections:
        out.print()
        rejections = (
            (r.window, r.reward_version, r.reason, r.stage, r.lineage, r.detail)
            for r in history.rejections
        )
        columns = ("window", "version#", "reason", "stage", "lineage", "detail")
        table("rejections", columns, rejections)
    if history.uses:
        out.print()
        uses = (
            (u.window, u.reward_version, u.use, u.lineage, u.step, u.dead_at) for u in history.uses
        )
        columns = ("window", "version#", "use", "lineage", "step#", "branch dead since (UTC)")
        table("uses", columns, uses)
