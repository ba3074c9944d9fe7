"""What a trajectory shows about its agent: its profit, its trades, its activity."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.records import Decision, Outcomes, Trajectory
from babylon_tasks.vocabulary import expects_rise, is_taken, kind

SATURATION = 20  # actions; more of them are not a merit


class Deeds(Struct, frozen=True, gc=False):
    """Actions really taken, and among them the trades known to have been right or wrong."""

    taken: int
    wins: int
    losses: int

    @property
    def win_rate(self) -> float | None:
        """The share of right trades; None where no outcome is known."""
        known = self.wins + self.losses
        return self.wins / known if known else None

    @property
    def activity(self) -> float:
        """Actions as a share of the number from which more is no better."""
        return min(1.0, self.taken / SATURATION)


def profit(trajectory: Trajectory) -> float | None:
    """What was earned: the PnL at the end minus the PnL before the first action.

    ``agentPnL`` is cumulative over the agent's life and taken before each step's action, so one
    step without ``finalPnL`` has no known profit.
    """
    last = trajectory.last_pnl if trajectory.final_pnl is None else trajectory.final_pnl
    if last is None or trajectory.first_pnl is None:
        return None
    return last - trajectory.first_pnl


def scaled_profit(trajectory: Trajectory, scale: float) -> float | None:
    """Profit mapped onto [0, 1]: a loss of ``scale`` or more is 0, nothing earned is 0.5."""
    earned = profit(trajectory)
    return None if earned is None else min(1.0, max(0.0, (earned / scale + 1) / 2))


def deeds(trajectory: Trajectory, outcomes: Outcomes) -> Deeds:
    """Count what was done; what failed or only waited does not count, nor is it won or lost."""
    taken = wins = losses = 0
    for decision in trajectory.decisions:
        if is_taken(decision):
            taken += 1
            right = won(decision, outcomes)
            if right is not None:
                wins += right
                losses += not right
    return Deeds(taken, wins, losses)


def won(decision: Decision, outcomes: Outcomes) -> bool | None:
    """Whether a trade turned out right; None where it is no trade or nobody knows yet."""
    if not kind(decision.action_type).trade:
        return None
    if decision.correct is not None:
        return decision.correct
    rise = expects_rise(decision)
    if rise is None:
        return None
    if decision.market_id is not None:
        market = outcomes.markets.get(decision.market_id)
        if market is not None and market.yes is not None:
            return market.yes is rise
    if decision.ticker is not None:
        stock = outcomes.tickers.get(decision.ticker)
        if stock is not None and stock.change:  # unmoved: neither right nor wrong
            return (stock.change > 0) is rise
    return None
