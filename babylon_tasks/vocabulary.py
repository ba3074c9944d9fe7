"""The names of actions, as Babylon's writers use them: exact, in any case, never by substring.

The first system looked for BUY or POST inside the name, so REPOST and BUYBACK counted as well. Both
contracts are known: that of 7a46248b and today's.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from babylon_tasks.records import AgentAction

# An agent that waits has done nothing; FINISH ends a turn.
_IDLE = frozenset({"", "hold", "wait", "none", "finish"})
# The plugin's name for a step that was never completed.
_UNFINISHED = frozenset({"pending"})
# The live recorders' names for every trading step, holds included: a hold names no market.
_LIVE = frozenset({"trading_decision", "trade"})
_BUYS = _LIVE | {"buy_shares", "buy_prediction_shares", "open_perp_position"}
_SELLS = frozenset({"sell_shares", "sell_prediction_shares"})
# Closing a position says nothing about where the price goes next: a trade, but no bet.
_CLOSES = frozenset({"close_perp_position", "close_position"})
_POSTS = frozenset({"create_post", "post"})
_SOCIAL = frozenset(
    {
        "create_comment", "comment", "comment_on_post", "reply_comment", "like", "like_post",
        "repost", "follow", "unfollow", "dm", "reply_chat", "group_message", "send_message",
        "create_group", "invite_to_group", "kick_from_group", "leave_group", "send_money",
        "share_information", "request_payment",
    }
)  # fmt: skip
# Names with a direction of their own, as an action or as the side of a trade.
_DIRECTED = {
    "buy_yes": True, "buy_no": False, "sell_yes": False, "sell_no": True,
    "open_long": True, "open_short": False,
}  # fmt: skip
# The most characters of a market's id or a ticker: Postgres's indexes take 2704 bytes.
LONGEST_NAME = 200
# How a prediction market's outcome is written. 1 and 0 are ambiguous: some sources number the
# outcomes starting with YES, others write YES as 1.
ENDED_YES = ("yes", "true")
ENDED_NO = ("no", "false")
_SIDES = {"yes": True, "long": True, "no": False, "short": False}
# Of these no prediction market is spoken, in either contract.
_PERPETUAL = frozenset({"long", "short", "open_long", "open_short"})
_LONGEST_KEPT = 32  # characters of a side: a longer one is read each time, and not kept in memory
_KNOWN = (
    _IDLE | _UNFINISHED | _BUYS | _SELLS | _CLOSES | _POSTS | _SOCIAL | frozenset(_DIRECTED)
)  # fmt: skip


class ActionKind(Struct, frozen=True, gc=False):
    """The meaning of an action's name. ``rise``: the bet that the name itself makes."""

    known: bool
    idle: bool
    needs_market: bool
    trade: bool
    post: bool
    buys: bool
    sells: bool
    rise: bool | None


@lru_cache(maxsize=1024)
def kind(action_type: str) -> ActionKind:
    """Look up an ``actionType``; an unknown name is an action, but not a trade."""
    word = action_type.strip().lower()
    return ActionKind(
        known=word in _KNOWN,
        idle=word in _IDLE or word in _UNFINISHED,
        needs_market=word in _LIVE,
        trade=word in _BUYS or word in _SELLS or word in _CLOSES or word in _DIRECTED,
        post=word in _POSTS,
        buys=word in _BUYS,
        sells=word in _SELLS,
        rise=_DIRECTED.get(word),
    )


def plain_word(word: str) -> str:
    """Write a word as Babylon's executors do before they look it up: Buy Yes is buy_yes."""
    return "_".join(word.lower().replace("-", " ").split())


def is_taken(action: AgentAction) -> bool:
    """Check whether the agent really did something: it succeeded, and did not just wait."""
    if not action.success:
        return False
    meant = kind(action.action_type)
    if meant.idle:
        return False
    return not meant.needs_market or not (action.market_id is None and action.ticker is None)


def is_perpetual(action_type: str, side: str | None) -> bool:
    """Check whether a bet's words say that it is on a price, not on how a market ends."""
    name = action_type.strip().lower()
    return (name if name in _DIRECTED else plain_word(side or "")) in _PERPETUAL


def expects_rise(action: AgentAction) -> bool | None:
    """Check whether a trade bets on YES or a rising price; None where it is not a bet."""
    return meaning(action).rise


class Meaning(Struct, frozen=True, gc=False):
    """What an action's name and side mean together.

    ``rise`` as in ``expects_rise``; ``buys``: it takes a position at its price, rather than giving
    one up.
    """

    idle: bool
    needs_market: bool
    trade: bool
    rise: bool | None
    buys: bool


def meaning(action: AgentAction) -> Meaning:
    """Look up an action's name and side at once, which is what costs in hours of a million."""
    return meaning_of(action.action_type, action.side)


def meaning_of(action_type: str, side: str | None) -> Meaning:
    """Look up the meaning of an action that is still being read."""
    if side is None or len(side) <= _LONGEST_KEPT:
        return _kept_meaning(action_type, side)
    return _read_meaning(action_type, side)


def _read_meaning(action_type: str, side: str | None) -> Meaning:
    meant, name = kind(action_type), action_type.strip().lower()
    word = "" if side is None else plain_word(side)
    takes = meant.buys or name in _DIRECTED
    return Meaning(
        idle=meant.idle,
        needs_market=meant.needs_market,
        trade=meant.trade,
        rise=_expected_rise(meant, None if side is None else word),
        buys=takes and not (word or name).startswith(("sell", "close")),
    )


_kept_meaning = lru_cache(maxsize=1024)(_read_meaning)


def _expected_rise(meant: ActionKind, side: str | None) -> bool | None:
    if meant.rise is not None:
        return meant.rise
    if side is None or not meant.trade:
        return None
    if side in _DIRECTED:  # a side with a direction, whatever the action's name
        return _DIRECTED[side]
    rise = _SIDES.get(side)
    if rise is None or meant.buys:
        return rise
    return not rise if meant.sells else None


def unknown_word(action: AgentAction) -> str | None:
    """Return an action's name if it is unknown."""
    return None if kind(action.action_type).known else action.action_type


def unknown_side(action: AgentAction) -> str | None:
    """Return the side of a successful trade if unknown; empty where a required one is missing.

    Closing a position needs none, nor does a name with a direction of its own.
    """
    meant = kind(action.action_type)
    if not meant.trade or meant.rise is not None or not is_taken(action):
        return None
    if action.action_type.strip().lower() in _CLOSES:
        return None
    side = plain_word(action.side or "")
    known = side in _SIDES or side in _DIRECTED or side in _CLOSES
    return None if known else action.side or ""
