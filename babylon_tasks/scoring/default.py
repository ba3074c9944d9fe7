"""Profit, decisions and activity, weighted as in Babylon's first system, compared per group."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import ClassVar

from babylon_tasks.records import Evidence, Score
from babylon_tasks.scoring.comparison import Usual, as_reward, standings
from babylon_tasks.scoring.evidence import activity
from babylon_tasks.scoring.profit import PROFIT_RESOLUTION, bounded_profit
from babylon_tasks.settings import Settings

_MERIT_RESOLUTION = 0.05  # a spread of merit, in [-1, 1], below which members are alike
MOST_OF_ACTIVITY = 0.02  # added to a reward; it never reaches the next better one


class DefaultScorer:
    """50 % profit, 30 % decisions, and activity (20 %) to break ties.

    Each component is compared among the members that have it. A missing one counts as nothing
    gained, or as the mean where that is less, so that hiding never pays: without a bet nothing was
    earned by betting, and a failed action counts as a lost stake. Activity alone is no evidence:
    a group that differs in nothing else has no spread.
    """

    name: ClassVar[str] = "default"
    version: ClassVar[str] = "3"

    def __init__(self, settings: Settings) -> None:
        self.weights = settings.reward_weights
        self.scale = settings.profit_scale
        self.usual = Usual(
            {"profit": lambda one: bounded_profit(one, self.scale), "decisions": decisions}
        )

    def rewards(
        self, members: Sequence[Evidence], reference: Sequence[Evidence]
    ) -> Sequence[Score | None]:
        """Blend the standings in profit and decisions; break ties by activity."""
        rated = [decisions(one) for one in members]
        some_decided = any(merit is not None for merit in rated)
        counted = [
            number
            for number, (one, merit) in enumerate(zip(members, rated, strict=True))
            if _is_evidence(one, merit, some_decided)
        ]
        if not counted:
            return [None] * len(members)
        evidence, merits = [members[n] for n in counted], [rated[n] for n in counted]
        earned = [bounded_profit(one, self.scale) for one in evidence]
        parts = {
            "profit": (_filled(earned), self.scale * PROFIT_RESOLUTION),
            "decisions": (_decided(evidence, merits), _MERIT_RESOLUTION),
        }
        usual = self.usual.among(reference)
        blend, weight = [0.0] * len(evidence), 0.0
        for name, (values, resolution) in parts.items():
            zs = standings(values, usual[name], resolution)
            if zs is not None and self.weights[name] > 0:
                weight += self.weights[name]
                blend = [b + self.weights[name] * z for b, z in zip(blend, zs, strict=True)]
        rewards = [as_reward(b / weight if weight else 0.0) for b in blend]
        if self.weights["activity"] > 0 and weight:
            # Between equals, activity does not lift the one that lacks evidence.
            done = [
                0.0 if some_decided and merit is None else activity(one)
                for one, merit in zip(evidence, merits, strict=True)
            ]
            rewards = _break_ties(rewards, done)
        scores: list[Score | None] = [None] * len(members)
        for number, one, merit, reward in zip(counted, evidence, merits, rewards, strict=True):
            scores[number] = Score(reward, components(one, merit))
        return scores


def decisions(evidence: Evidence) -> float | None:
    """Compute the merit of the actions, in [-1, 1]: a failed one is as bad as a lost stake.

    None without an action that can be rated.
    """
    if evidence.merit is None and not evidence.failed:
        return None
    share = (
        evidence.failed / (evidence.failed + evidence.waited + evidence.taken)
        if evidence.failed
        else 0.0
    )
    return (evidence.merit or 0.0) * (1 - share) - share


def _is_evidence(evidence: Evidence, merit: float | None, some_decided: bool) -> bool:
    """Check whether a trajectory shows more than activity; ``merit`` is that of its actions.

    ``some_decided``: another member's actions can be rated. Then waiting counts as evidence,
    too: it earned nothing.
    """
    if evidence.profit is not None or merit is not None:
        return True
    return some_decided and evidence.waited > 0 and not evidence.taken


def components(evidence: Evidence, merit: float | None) -> dict[str, float]:
    """Return the components stored with a reward, in the evidence's own units.

    ``merit`` is ``decisions(evidence)``.
    """
    values: dict[str, float] = {"activity": activity(evidence)}
    if evidence.profit is not None:
        values["profit"] = evidence.profit
    if merit is not None:
        values["decisions"] = merit
    if evidence.right:
        values["right"] = float(evidence.right)
    if evidence.wrong:
        values["wrong"] = float(evidence.wrong)
    if evidence.failed:
        values["failed"] = float(evidence.failed)
    return values


def _filled(values: Sequence[float | None]) -> list[float]:
    known = [value for value in values if value is not None]
    lacking = min(0.0, fmean(known)) if known else 0.0
    return [lacking if value is None else value for value in values]


def _decided(evidence: Sequence[Evidence], merits: Sequence[float | None]) -> list[float]:
    known = [merit for merit in merits if merit is not None]
    lacking = min(0.0, fmean(known)) if known else 0.0
    return [
        merit if merit is not None else lacking if one.unknown else 0.0
        for one, merit in zip(evidence, merits, strict=True)
    ]


def _break_ties(rewards: Sequence[float], activities: Sequence[float]) -> list[float]:
    distinct = sorted(set(rewards))
    gaps = [after - before for before, after in pairwise(distinct)]
    room = min([MOST_OF_ACTIVITY, *(gap * (1 - MOST_OF_ACTIVITY) / 2 for gap in gaps)])
    return [
        0.5 + (reward - 0.5) * (1 - MOST_OF_ACTIVITY) + room * (done - 0.5)
        for reward, done in zip(rewards, activities, strict=True)
    ]
