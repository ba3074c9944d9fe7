"""The better part of comparable trajectories: what a supervised step learns from. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TypeVar

from babylon_tasks.dataset.groups import HasReward, rank
from babylon_tasks.reasons import LeftOut, Reason
from babylon_tasks.records import LlmCall

R = TypeVar("R", bound=HasReward)


def better_part(members: Sequence[R], share: float) -> list[R]:
    """Choose the best ``share`` of comparable trajectories, rounded down but at least one.

    All of them earned more than the mean. The hash of the id breaks ties.
    """
    ordered = sorted(members, key=lambda one: (-one.reward, rank(one.trajectory_id)))
    mean = fmean(one.reward for one in ordered)
    count = max(1, int(share * len(ordered) + 1e-9))  # .1 * 30 is a little less than 3
    return [one for one in ordered[:count] if one.reward > mean]


def why_left_out(call: LlmCall) -> LeftOut | Reason | None:
    """Find why nobody should learn to answer as this call does; None where one may."""
    if call.carries is not None:
        return Reason(call.carries)  # the prompt is not all that was asked
    if not call.response.strip():
        return LeftOut.NO_ANSWER
    return LeftOut.CUT_OFF if call.finish_reason == "length" else None
