"""Extract a trajectory's evidence: profit, bets, failures, activity. Pure."""

from __future__ import annotations

from babylon_tasks.records import AgentAction, Evidence, Facts, Outcome, Outcomes, Trajectory
from babylon_tasks.vocabulary import expects_rise, meaning

# Each is (kind, name, outcome), kind being ``market`` or ``stock``.
NamedBet = tuple[str, str, Outcome]
Played = Facts | Trajectory

_NOT_KNOWN = Outcome()
SATURATION = 20  # actions; more do not add anything


def evidence(facts: Played, outcomes: Outcomes) -> Evidence:
    """Extract a trajectory's evidence with the outcomes that are known."""
    return evidence_and_bets(facts, outcomes)[0]


def bets(facts: Played, outcomes: Outcomes) -> list[NamedBet]:
    """List the markets that a trajectory's bets name, with what is known of each."""
    made = evidence_and_bets(facts, outcomes)[1]
    return [one for bet in made for one in named(bet, outcomes)]


def evidence_and_bets(facts: Played, outcomes: Outcomes) -> tuple[Evidence, list[AgentAction]]:
    """Extract both in one pass; the bets are those that need an outcome.

    One recorded as right or wrong needs none.
    """
    right = wrong = unknown = failed = waited = taken = 0
    merits = earned = staked = 0.0
    open_bets: list[AgentAction] = []
    for action in facts.actions:
        if not action.success:
            failed += 1
            continue
        meant = meaning(action)
        if meant.idle or (
            meant.needs_market and action.market_id is None and action.ticker is None
        ):
            waited += 1
            continue
        taken += 1
        won = action.correct
        if won is None:
            if meant.rise is None:
                continue
            open_bets.append(action)
            won = _came_true(action, meant.rise, outcomes)
        elif not meant.trade:
            continue
        if won is None:
            unknown += 1
            continue
        right += won
        wrong += not won
        price = action.price
        if price is None:
            merits += 1.0 if won else -1.0
            continue
        gain = _gain(price, won=won, bought=meant.buys)
        merits += gain
        if action.staked is not None:
            earned += gain * action.staked
            staked += action.staked
    known = right + wrong
    extracted = Evidence(
        profit(facts),
        right,
        wrong,
        unknown,
        failed,
        waited,
        taken,
        merits / known if known else None,
        earned,
        staked,
    )
    return extracted, open_bets


def named(bet: AgentAction, outcomes: Outcomes) -> list[NamedBet]:
    """List the market and the ticker that a bet names, with what is known of each.

    The outcome of either decides a bet that names both, so it is known if one of them is.
    """
    found: list[NamedBet] = []
    if bet.market_id is not None:
        name = bet.market_id
        market, stock = outcomes.markets.get(name), outcomes.tickers.get(name)
        known = Outcome(market.yes if market else None, stock.change if stock else None)
        found.append(("market", name, known))
    if bet.ticker is not None:
        found.append(("stock", bet.ticker, outcomes.tickers.get(bet.ticker, _NOT_KNOWN)))
    return found


def profit(facts: Played) -> float | None:
    """Compute what was earned: the PnL at the end minus the PnL before the first action.

    ``agentPnL`` is cumulative over the agent's life and taken before each step's action, so one
    step without ``finalPnL`` has no known profit.
    """
    last = facts.last_pnl if facts.final_pnl is None else facts.final_pnl
    if last is None or facts.first_pnl is None:
        return None
    return last - facts.first_pnl


def activity(evidence: Evidence) -> float:
    """Count actions as a share of ``SATURATION``, in [0, 1]."""
    return min(1.0, evidence.taken / SATURATION)


def is_right(action: AgentAction, outcomes: Outcomes) -> bool | None:
    """Check whether a bet was right; None if the outcome is unknown or the price unchanged."""
    if action.correct is not None:
        return action.correct
    rise = expects_rise(action)
    return None if rise is None else _came_true(action, rise, outcomes)


def _came_true(action: AgentAction, rise: bool, outcomes: Outcomes) -> bool | None:
    for name in (action.market_id, action.ticker):
        if name is None:
            continue
        market = outcomes.markets.get(name)
        if market is not None and market.yes is not None:
            return market.yes is rise
        # The market id of a perpetual is its ticker.
        stock = outcomes.tickers.get(name)
        if stock is not None and stock.change:
            return (stock.change > 0) is rise
    return None


def _gain(price: float, *, won: bool, bought: bool) -> float:
    """Compute what a bet at a price earned, in [-1, 1]: at a fair one 0 on average.

    A share bought at price p pays 1 if right, so a stake of p wins 1 - p; in a sale it is the
    other way round. The larger of the two is scaled to 1. Per unit staked, and capped at 1, a long
    shot would lose everything and win no more than that: not betting would beat a coin flip.
    """
    stake, prize = (price, 1 - price) if bought else (1 - price, price)
    if won:
        return 1.0 if prize >= stake else prize / stake
    return -1.0 if stake >= prize else -stake / prize
