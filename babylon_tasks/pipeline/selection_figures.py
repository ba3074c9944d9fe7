"""Figures of what was selected of the windows of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from babylon_tasks.pipeline.select_groups import Selection
from babylon_tasks.reasons import UsedAs

_WITHOUT_SPREAD = (UsedAs.NO_SPREAD, UsedAs.ONLY_ACTIVITY)
_TEACHES_NOTHING = (*_WITHOUT_SPREAD, UsedAs.SETTLED)


def informative_share(selections: Sequence[Selection], used_up: Mapping[str, int]) -> float:
    """Compute the share of comparable trajectories that are in groups that teach.

    ``used_up``: what planning has used up of these windows without a step, by use. It is used up
    once and counts for each step that is planned of the rest until one of them lives: a step that
    comes in another's place moves the weights no further.
    Those with nothing to compare with (``too_small``) are counted on neither side.
    """
    taught = sum(map(_that_teach, selections))
    return taught / (taught + sum(used_up.get(use, 0) for use in _TEACHES_NOTHING))


def nothing_to_learn(selection: Selection) -> dict[str, Any] | None:
    """Describe, for an event, a window of which most groups have no spread; None if they have.

    One without comparable trajectories is none: it is refused for other reasons.
    """
    flat = _without_spread(selection)
    compared = flat + _settled(selection) + _that_teach(selection)
    if 2 * flat <= compared:
        return None
    return {
        "nothing_to_learn": f"at this temperature: {flat} of {compared} answers earned the same as "
        "the others of their group",
        "todo": "if they are right, nothing; if not, the policy is sure and wrong: let agents ask "
        "at temperature 1, or `babylon-tasks models rollback` to a checkpoint whose answers "
        "differ, or `babylon-tasks warm-start`: docs/learning.md#nothing-to-learn",
    }


def _that_teach(selection: Selection) -> int:
    return sum(selection.groups.sizes)


def _without_spread(selection: Selection) -> int:
    return sum(use in _WITHOUT_SPREAD for _, use in selection.used_up)


def _settled(selection: Selection) -> int:
    return sum(use == UsedAs.SETTLED for _, use in selection.used_up)


def longest_row(selections: Sequence[Selection]) -> int:
    """Find the longest row of all windows; 0 if the trainer does not know one of them."""
    rows = [selection.longest for selection in selections]
    return max(rows) if all(rows) else 0
