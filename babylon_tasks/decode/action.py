"""Read a recorded action; a malformed fact counts as unknown and rejects nothing."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from msgspec import Struct

from babylon_tasks.records import AgentAction
from babylon_tasks.vocabulary import kind

_NO_MONEY = 1e15  # Babylon's own columns of money have 12 digits before the point
# What today's Babylon records beside a like, a comment or a message of its own making, where it
# could parse no answer: such an answer must not earn what Babylon did.
_MADE_UP = "Parser fallback selected"

# An answer without effect: it could not be parsed, or was cut off.
NOTHING_DONE = AgentAction("pending", success=False)


# Facts for scoring only are accepted in any form (Any): an odd one is unknown, not a reason to
# reject a trajectory whose calls are sound.
class _Parameters(Struct, gc=False):
    marketId: Any = None
    ticker: Any = None
    side: Any = None
    marketType: Any = None
    amount: Any = None
    price: Any = None


class Done(Struct, gc=False):
    """What a trade came to."""

    marketId: Any = None
    ticker: Any = None
    shares: Any = None
    avgPrice: Any = None


class _Correctness(Struct, gc=False):
    predictionCorrect: Any = None
    predictedOutcome: Any = None
    actualOutcome: Any = None
    perpCorrect: Any = None
    expectedDirection: Any = None
    priceChange: Any = None


class RecordedAction(Struct, gc=False):
    actionType: str = ""
    success: bool = False
    llmCallId: Any = None
    reasoning: Any = None
    parameters: _Parameters | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    correctness: _Correctness | None = None


_results = msgspec.json.Decoder(Done | None)


_NOT_RECORDED, _NOT_DONE = _Parameters(), Done()


def read_action(action: RecordedAction) -> AgentAction:
    # Hours have a million actions: what is usual takes no call of a function.
    why = action.reasoning
    if type(why) is str and why.startswith(_MADE_UP):
        return NOTHING_DONE
    parameters, correctness = action.parameters or _NOT_RECORDED, action.correctness
    done = (kind(action.actionType).trade and _done(action.result)) or _NOT_DONE
    market, ticker = parameters.marketId, parameters.ticker
    if type(market) is not str or not market:
        market = _name(market)
    if ticker is not None:
        ticker = _name(ticker)
    if market is None and ticker is None:
        market, ticker = _name(done.marketId), _name(done.ticker)
    if market is not None and ticker is None and parameters.marketType == "perp":
        market, ticker = None, market  # today a perpetual's ticker is in the market's field
    staked = money_in(parameters.amount)
    if staked is not None and staked <= 0:
        staked = None
    # By position: by name it takes twice as long.
    return AgentAction(
        action.actionType,
        action.success,
        market,
        ticker,
        parameters.side if type(parameters.side) is str else None,
        None if correctness is None else _correct(correctness),
        None if ticker is not None else _price(parameters, done, staked),
        staked,
    )


def _done(result: msgspec.Raw | Done | None) -> Done | None:
    if not isinstance(result, msgspec.Raw):
        return result
    try:
        found: Done | None = _results.decode(result)
    except ValueError:  # any JSON is allowed here; only an object is usable
        return None
    return found


def _name(value: Any) -> str | None:
    # Ids are snowflakes: some writers store them as numbers.
    if type(value) is int:
        return str(value)
    return value if type(value) is str and value else None


def _price(parameters: _Parameters, done: Done, staked: float | None) -> float | None:
    """Find the price of a share; only values in (0, 1) count."""
    price = done.avgPrice
    if type(price) is float and 0 < price < 1:
        return price
    price = parameters.price
    if type(price) is float and 0 < price < 1:
        return price
    shares = number_in(done.shares)
    if staked is None or shares is None or shares <= 0:
        return None
    bought = staked / shares
    return bought if 0 < bought < 1 else None


def number_in(value: Any) -> float | None:
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:  # an integer too large for a float
        return None


def money_in(value: Any) -> float | None:
    """Read a sum of money; None for one beyond Babylon's columns, since totals would overflow."""
    if type(value) is not float and type(value) is not int:
        return None
    return float(value) if -_NO_MONEY < value < _NO_MONEY else None


def _correct(recorded: _Correctness) -> bool | None:
    for flag in (recorded.predictionCorrect, recorded.perpCorrect):
        if isinstance(flag, bool):
            return flag
    predicted, actual = recorded.predictedOutcome, recorded.actualOutcome
    if isinstance(predicted, bool) and isinstance(actual, bool):
        return predicted is actual
    change, expected = recorded.priceChange, recorded.expectedDirection
    if isinstance(change, int | float) and change and expected in ("up", "down"):
        return bool(change > 0) is (expected == "up")
    return None
