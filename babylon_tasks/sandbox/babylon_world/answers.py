"""What an answer about a market comes to: an action of Babylon's, in JSON, or a failure. Pure."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

from babylon_tasks.sandbox.babylon_world.markets import BabylonMarket

_SIDES = {"buy_yes": True, "buy_no": False}
_OTHERS = ("POST", "WAIT")


class Act(Struct, frozen=True):
    """What an agent did about a market.

    ``valid``: the answer is one JSON object with an action of this world. ``failed`` says why the
    action could not be carried out. ``yes`` is the side of a trade that was, and ``amount`` its
    stake.
    """

    action: str
    parameters: dict[str, Any]
    valid: bool
    failed: str | None = None
    yes: bool | None = None
    amount: float = 0.0


def act(market: BabylonMarket, text: str) -> Act:
    """Carry out an answer, as Babylon does: what cannot be read or paid for is a failed action."""
    found = _object(text)
    action = found.get("action")
    parameters = found.get("parameters", {})
    if not isinstance(action, str) or not isinstance(parameters, dict):
        return Act("WAIT", {}, valid=False, failed="the answer is not one JSON action")
    if action in _OTHERS:
        return Act(action, parameters, valid=True)
    if action != "TRADE":
        return Act("WAIT", {}, valid=False, failed="the action is not one of Babylon's")
    why = _refused(market, parameters)
    if why is not None:
        return Act("TRADE", parameters, valid=True, failed=why)
    side, amount = parameters["side"], float(parameters["amount"])
    return Act("TRADE", parameters, valid=True, yes=_SIDES[side], amount=amount)


def is_right(market: BabylonMarket, done: Act) -> bool:
    """Check whether an answer became a trade on how the market ends."""
    return done.yes is not None and done.yes == market.yes


def shares(market: BabylonMarket, done: Act) -> float:
    """Count the shares that a trade's stake buys at the market's price."""
    price = market.yes_price if done.yes else 1 - market.yes_price
    return round(done.amount / price, 4)


def _refused(market: BabylonMarket, parameters: dict[str, Any]) -> str | None:
    """Find why a trade cannot be carried out."""
    if parameters.get("marketType") != "prediction" or parameters.get("marketId") != market.id:
        return "there is no such market"
    side = parameters.get("side")
    if not isinstance(side, str) or side not in _SIDES:
        return "there is no such side"
    amount = parameters.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        return "the amount is not a number"
    if not 0 < amount <= market.balance:
        return "the balance does not suffice"
    return None


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
