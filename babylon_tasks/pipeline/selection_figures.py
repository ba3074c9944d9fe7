"""Figures of what was selected of the windows of a step."""

from __future__ import annotations

from collections.abc import Sequence

from babylon_tasks.pipeline.select_groups import Selection
from babylon_tasks.reasons import UsedAs


def informative_share(selections: Sequence[Selection]) -> float:
    """Compute the share of comparable trajectories that are in groups with spread.

    Those with nothing to compare with (``too_small``) are counted on neither side.
    """
    used = sum(len(group.members) for selection in selections for group in selection.groups)
    flat = sum(
        use in (UsedAs.NO_SPREAD, UsedAs.ONLY_ACTIVITY)
        for selection in selections
        for _, use in selection.used_up
    )
    return used / (used + flat)


def longest_row(selections: Sequence[Selection]) -> int:
    """Find the longest row of all windows; 0 if the trainer does not know one of them."""
    rows = [selection.longest for selection in selections]
    return max(rows) if all(rows) else 0
