"""What a trajectory shows about its agent: profit, wins, activity; None where it shows nothing."""

from __future__ import annotations

from babylon_tasks.records import Decision, Outcomes, Trajectory
from babylon_tasks.scoring.vocabulary import TRADES, expects_rise, is_taken

SATURATION = 20  # actions; more of them are not a merit


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
    return None if earned is None else min(1.0, max(0.0, (earned + scale) / (2 * scale)))


def won(decision: Decision, outcomes: Outcomes) -> bool | None:
    """Whether a trade that was really made turned out right; None where it is not known."""
    if decision.action_type.lower() not in TRADES or not is_taken(decision):
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


def win_rate(trajectory: Trajectory, outcomes: Outcomes) -> float | None:
    """The share of right trades among those whose outcome is known."""
    known = [won(decision, outcomes) for decision in trajectory.decisions]
    wins, losses = known.count(True), known.count(False)
    return wins / (wins + losses) if wins or losses else None


def activity(trajectory: Trajectory) -> float:
    """Actions really taken, as a share of the number from which more is no better."""
    return min(1.0, sum(map(is_taken, trajectory.decisions)) / SATURATION)
