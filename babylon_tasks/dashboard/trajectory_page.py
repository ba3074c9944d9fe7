"""The page of one trajectory: prompts and answers, what it got, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from babylon_tasks.cli.html_page import table, text
from babylon_tasks.cli.report_answers import Most, article
from babylon_tasks.dashboard.site_links import SITE
from babylon_tasks.dashboard.site_page import section, site_page
from babylon_tasks.db.trajectory_history import (
    TrajectoryHistory,
    TrajectoryRejection,
    TrajectoryScore,
    TrajectoryUse,
)
from babylon_tasks.run_records import TrajectoryCloseup

_MOST = Most(calls=50, characters=20_000)


def trajectory_page(found: TrajectoryCloseup, history: TrajectoryHistory, lineage: str) -> str:
    """Write it; ``history``: every window that it has been in, for any lineage.

    ``lineage``: the one whose steps have pages here.
    """
    body = [
        article(found, SITE, "What was asked and answered", _MOST),
        *section("Scores", _scores(history.scores)),
        *section("Rejections", _rejections(history.rejections)),
        *section("Uses", _uses(history.uses, lineage)),
    ]
    return site_page(f"Trajectory {found.trajectory_id}", body)


def _scores(found: Sequence[TrajectoryScore]) -> list[str]:
    if not found:
        return []
    rows = (
        (
            SITE.window(one.window),
            str(one.reward_version),
            f"{one.reward:.3f}",
            text(one.scorer),
        )
        for one in found
    )
    return table(("window", "version", "reward", "by"), rows)


def _rejections(found: Sequence[TrajectoryRejection]) -> list[str]:
    if not found:
        return []
    rows = (
        (
            SITE.window(one.window),
            text(one.lineage or "all"),
            text(one.stage),
            text(one.reason),
            text(one.detail or ""),
        )
        for one in found
    )
    return table(("window", "for", "stage", "reason", "what was found"), rows)


def _uses(found: Sequence[TrajectoryUse], lineage: str) -> list[str]:
    if not found:
        return []
    rows = (
        (
            SITE.window(one.window),
            text(one.use),
            text(one.lineage),
            _step(one, lineage),
            "" if one.dead_at is None else f"of a branch that is dead since {one.dead_at:%F %T}",
        )
        for one in found
    )
    return table(("window", "as", "by", "step", ""), rows)


def _step(found: TrajectoryUse, lineage: str) -> str:
    if found.step is None:
        return "-"
    return SITE.step(found.step) if found.lineage == lineage else str(found.step)
