"""The words of actions, as Babylon's writers use them: exact, in any case, never by substring.

The first system looked for BUY or POST inside the word, so REPOST and BUYBACK counted as well.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from babylon_tasks.records import Decision

# An agent that waits has done nothing; `pending` is the plugin's mark for a step never completed.
_IDLE = frozenset({"", "hold", "wait", "none", "pending"})
# The live recorder's word for every trading step, holds included: a hold names no market.
_LIVE = "trading_decision"
_BUYS = frozenset({_LIVE, "buy_shares", "buy_prediction_shares", "open_perp_position"})
_SELLS = frozenset({"sell_shares", "sell_prediction_shares"})
# Closing a position says nothing about where the price goes next: a trade, but no bet.
_CLOSES = frozenset({"close_perp_position", "close_position"})
_DIRECTED = {"buy_yes": True, "buy_no": False, "open_long": True, "open_short": False}
_POSTS = frozenset({"create_post"})
_SIDES = {"yes": True, "long": True, "no": False, "short": False}


class Kind(Struct, frozen=True, gc=False):
    """What an action's word means. ``rise``: the bet that the word itself makes."""

    idle: bool
    needs_market: bool
    trade: bool
    post: bool
    buys: bool
    sells: bool
    rise: bool | None


@lru_cache(maxsize=1024)
def kind(action_type: str) -> Kind:
    """The meaning of an ``actionType``; an unknown word is an action, but no trade."""
    word = action_type.strip().lower()
    return Kind(
        idle=word in _IDLE,
        needs_market=word == _LIVE,
        trade=word in _BUYS or word in _SELLS or word in _CLOSES or word in _DIRECTED,
        post=word in _POSTS,
        buys=word in _BUYS,
        sells=word in _SELLS,
        rise=_DIRECTED.get(word),
    )


def is_taken(decision: Decision) -> bool:
    """Whether the agent really did something: it succeeded, and it was not waiting."""
    if not decision.success:
        return False
    meant = kind(decision.action_type)
    if meant.idle:
        return False
    return not meant.needs_market or not (decision.market_id is None and decision.ticker is None)


def expects_rise(decision: Decision) -> bool | None:
    """Whether a trade bets on YES or on a rising price; None where it is no bet."""
    meant = kind(decision.action_type)
    if meant.rise is not None:
        return meant.rise
    side = None if decision.side is None else _rises(decision.side)
    if side is None or meant.buys:
        return side
    return not side if meant.sells else None


@lru_cache(maxsize=1024)
def _rises(side: str) -> bool | None:
    return _SIDES.get(side.strip().lower())
