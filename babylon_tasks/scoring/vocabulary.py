"""The words of actions, as Babylon's writers use them: exact, in any case, never by substring.

The first system looked for BUY or POST inside the word, so REPOST and BUYBACK counted as well.
"""

from __future__ import annotations

from babylon_tasks.records import Decision

# An agent that waits has done nothing; `pending` is the plugin's mark for a step never completed.
IDLE = frozenset({"", "hold", "wait", "none", "pending"})

_BUYS = frozenset({"trading_decision", "buy_shares", "buy_prediction_shares", "open_perp_position"})
_SELLS = frozenset({"sell_shares", "sell_prediction_shares"})
# Closing a position says nothing about where the price goes next: no direction, no win or loss.
_CLOSES = frozenset({"close_perp_position", "close_position"})
_DIRECTED = {"buy_yes": True, "buy_no": False, "open_long": True, "open_short": False}
_SIDES = {"yes": True, "long": True, "no": False, "short": False}

TRADES = _BUYS | _SELLS | _CLOSES | _DIRECTED.keys()


def is_taken(decision: Decision) -> bool:
    """Whether the agent really did something: it succeeded, and it was not waiting."""
    if not decision.success:
        return False
    word = decision.action_type.lower()
    if word in IDLE:
        return False
    # The live recorder writes TRADING_DECISION for a hold as well: then it names no market.
    return word != "trading_decision" or bool(decision.market_id or decision.ticker)


def expects_rise(decision: Decision) -> bool | None:
    """Whether a trade bets on YES or on a rising price; None where it is no bet."""
    word = decision.action_type.lower()
    directed = _DIRECTED.get(word)
    if directed is not None:
        return directed
    side = _SIDES.get((decision.side or "").lower())
    if side is None:
        return None
    if word in _BUYS:
        return side
    return not side if word in _SELLS else None
