"""Profit and nothing else: for worlds where the market settles within the trajectory."""

from __future__ import annotations

from typing import ClassVar

from babylon_tasks.records import Outcomes, Rejection, Score, Trajectory
from babylon_tasks.scoring.base import no_evidence, register
from babylon_tasks.scoring.evidence import scaled_profit
from babylon_tasks.settings import Settings


@register
class ProfitScorer:
    """The scaled profit is the reward."""

    name: ClassVar[str] = "profit"
    version: ClassVar[str] = "1"

    def __init__(self, settings: Settings) -> None:
        self.scale = settings.profit_scale

    def score(self, trajectory: Trajectory, outcomes: Outcomes) -> Score | Rejection:
        """Outcomes are not looked at: the profit holds them already."""
        del outcomes
        earned = scaled_profit(trajectory, self.scale)
        if earned is None:
            return no_evidence(trajectory, "no known profit")
        return Score(earned, {"profit": earned})
