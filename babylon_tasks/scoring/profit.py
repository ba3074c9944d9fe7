"""Profit and nothing else: for worlds whose markets settle within the trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from babylon_tasks.records import Evidence, Score
from babylon_tasks.scoring.comparison import Usual, rewards
from babylon_tasks.settings import Settings

# As shares of ``profit_scale``: the spread below which profits count as equal, and the cap for one
# profit. Without a cap, one agent's windfall would leave no difference between the others.
PROFIT_RESOLUTION = 1e-3
_WINDFALL = 10.0


def bounded_profit(evidence: Evidence, scale: float) -> float | None:
    """Cap the profit, in Babylon's money, at ten times that of a good hour; None: not known."""
    if evidence.profit is None:
        return None
    return max(-_WINDFALL * scale, min(_WINDFALL * scale, evidence.profit))


class ProfitScorer:
    """The standing in profit is the reward. Outcomes are not read: they are part of the profit."""

    name: ClassVar[str] = "profit"
    version: ClassVar[str] = "2"

    def __init__(self, settings: Settings) -> None:
        self.scale = settings.profit_scale
        self.usual = Usual({"profit": lambda one: bounded_profit(one, self.scale)})

    def rewards(
        self, members: Sequence[Evidence], reference: Sequence[Evidence]
    ) -> Sequence[Score | None]:
        """Compare the members whose profit is known."""
        earned = [bounded_profit(one, self.scale) for one in members]
        usual = self.usual.among(reference)["profit"]
        return [
            None if reward is None or one.profit is None else Score(reward, {"profit": one.profit})
            for one, reward in zip(
                members, rewards(earned, usual, self.scale * PROFIT_RESOLUTION), strict=True
            )
        ]
