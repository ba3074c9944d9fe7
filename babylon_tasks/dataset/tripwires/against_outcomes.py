"""Reward against outcomes: a judge, or a scorer, that pays whoever bet wrong teaches to bet wrong.

Where no bet of a window has a known outcome there is nothing to compare with, and it cannot trip.
"""

from __future__ import annotations

from babylon_tasks.dataset.tripwires.rank_correlation import RankCorrelation
from babylon_tasks.dataset.tripwires.watched import WatchedGroup
from babylon_tasks.tripwires import Trip, Tripwire

LOWEST = -0.3
_ERRORS = 3.5
_SOURCE = (
    f"correlation <= {LOWEST:g} and >= {_ERRORS:g} standard errors over agents below 0: a reward "
    "that knows nothing of outcomes gets there in less than 1 of 10,000 windows"
)


class AgainstOutcomes:
    """Rank correlation, inside groups, of the reward and what the bets earned."""

    def __init__(self) -> None:
        self._correlation = RankCorrelation()

    def add(self, group: WatchedGroup) -> None:
        """Take the members whose bets have ended into account."""
        known = [
            (one.facts.merit, one.member.reward, one.facts.agent)
            for one in group.members
            if one.facts.merit is not None
        ]
        self._correlation.add(
            [merit for merit, _, _ in known],
            [reward for _, reward, _ in known],
            [agent for _, _, agent in known],
        )

    def trips(self) -> list[Trip]:
        """Trip where better bets earn less reward."""
        found = self._correlation.result()
        if found is None or found.coefficient > LOWEST or found.errors > -_ERRORS:
            return []
        return [
            Trip(
                Tripwire.AGAINST_OUTCOMES,
                f"bets that ended well are rewarded less: rank correlation "
                f"{found.coefficient:.2f} over {found.trajectories} trajectories of "
                f"{found.agents} agents",
                found.coefficient,
                LOWEST,
                _SOURCE,
                {
                    "correlation": found.coefficient,
                    "errors": found.errors,
                    "trajectories": found.trajectories,
                    "agents": found.agents,
                },
            )
        ]
