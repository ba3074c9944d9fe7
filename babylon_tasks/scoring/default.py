"""The weights of the first system on corrected inputs."""

from __future__ import annotations

from typing import ClassVar

from babylon_tasks.records import Outcomes, Rejection, Score, Trajectory
from babylon_tasks.scoring.base import no_evidence, register
from babylon_tasks.scoring.evidence import deeds, scaled_profit
from babylon_tasks.settings import Settings

WEIGHTS = {"profit": 0.5, "win_rate": 0.3, "activity": 0.2}


@register
class DefaultScorer:
    """50 % profit, 30 % win rate, 20 % activity; what lacks evidence leaves its weight to the rest.

    Activity of zero is a fact about an agent that waited, so it counts beside other evidence;
    alone it says nothing about any decision, and the trajectory is rejected.
    """

    name: ClassVar[str] = "default"
    version: ClassVar[str] = "1"

    def __init__(self, settings: Settings) -> None:
        self.scale = settings.profit_scale

    def score(self, trajectory: Trajectory, outcomes: Outcomes) -> Score | Rejection:
        """Blend whatever is known."""
        components: dict[str, float] = {}
        earned = scaled_profit(trajectory, self.scale)
        if earned is not None:
            components["profit"] = earned
        done = deeds(trajectory, outcomes)
        rate = done.win_rate
        if rate is not None:
            components["win_rate"] = rate
        if done.taken or components:
            components["activity"] = done.activity
        if not components:
            return no_evidence(trajectory, "no known profit, no known outcome, no action taken")
        weight = blend = 0.0
        for name, value in components.items():
            weight += WEIGHTS[name]
            blend += WEIGHTS[name] * value
        return Score(min(1.0, blend / weight), components)  # rounding may exceed 1 by a hair
