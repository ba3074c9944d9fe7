"""Profit and nothing else: for worlds where the market settles within the trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from babylon_tasks.records import Evidence, Score
from babylon_tasks.scoring.comparison import as_reward, standings
from babylon_tasks.settings import Settings


class ProfitScorer:
    """The standing in profit is the reward; outcomes are not looked at: the profit holds them."""

    name: ClassVar[str] = "profit"
    version: ClassVar[str] = "2"

    def __init__(self, settings: Settings) -> None:
        self.resolution = settings.profit_scale * 1e-3

    def rewards(
        self, members: Sequence[Evidence], reference: Sequence[Evidence]
    ) -> Sequence[Score | None]:
        """Compare the members whose profit is known."""
        known = [one.profit for one in members if one.profit is not None]
        among = [one.profit for one in reference if one.profit is not None]
        found = iter(
            (standings(known, among, self.resolution) if known else None) or [0.0] * len(known)
        )
        return [
            None if one.profit is None else Score(as_reward(next(found)), {"profit": one.profit})
            for one in members
        ]
