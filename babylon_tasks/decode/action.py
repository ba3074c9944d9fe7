"""Read a recorded action; a malformed fact counts as unknown and rejects nothing."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from msgspec import Struct

from babylon_tasks.records import AgentAction
from babylon_tasks.vocabulary import LONGEST_NAME, is_perpetual, kind, meaning_of

_NO_MONEY = 1e15  # Babylon's own columns of money have 12 digits before the point
# What today's Babylon records beside a like, a comment or a message of its own making, where it
# could parse no answer: such an answer must not earn what Babylon did.
_MADE_UP = "Parser fallback selected"

_ASKED_FOR_NOTHING = 100.0  # what Babylon trades for where its agent named no amount
# The price where an agent asked for more than it had: hiding what a bet cost must not pay.
_DEAREST = 0.99

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


def read_action(action: RecordedAction, balance: Any = None) -> AgentAction:
    """Read what a step did; ``balance`` is the agent's before it, as recorded."""
    # Hours have a million actions: what is usual takes no call of a function.
    why = action.reasoning
    if type(why) is str and why.startswith(_MADE_UP):
        return NOTHING_DONE
    parameters, correctness = action.parameters or _NOT_RECORDED, action.correctness
    named = kind(action.actionType)
    done = (named.trade and _done(action.result)) or _NOT_DONE
    side = parameters.side if type(parameters.side) is str else None
    market, ticker = parameters.marketId, parameters.ticker
    if type(market) is not str or not 0 < len(market) <= LONGEST_NAME:
        market = _name(market)
    if ticker is not None:
        ticker = _name(ticker)
    if ticker is not None or done.ticker is not None or done.marketId not in (None, market):
        market, ticker = _traded(action, done, market, ticker)
    if ticker is None and parameters.marketType == "perp":
        market, ticker = None, market  # today a perpetual's ticker is in the market's field
    price = staked = None
    if named.trade and market is not None:  # a perpetual's is not the price of a share that pays 1
        shares, price = done.shares, done.avgPrice
        usual = type(price) is float and type(shares) is float
        if usual and 0 < price < 1 and 0 < shares < _NO_MONEY:
            staked = price * shares
        elif shares is None and price is None and parameters.price is None:
            staked = money_in(parameters.amount)
        else:
            buys = meaning_of(action.actionType, side).buys
            price, staked = _paid(parameters, done, balance, buys, named.needs_market)
    # By position: by name it takes twice as long.
    return AgentAction(
        action.actionType,
        action.success,
        market,
        ticker,
        side,
        None if correctness is None else _correct(correctness),
        price,
        staked if staked is not None and staked > 0 else None,
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
    name = str(value) if type(value) is int else value
    # One that no index takes would fail its hour, again and again.
    return name if type(name) is str and 0 < len(name) <= LONGEST_NAME else None


def _traded(
    action: RecordedAction, done: Done, market: str | None, ticker: str | None
) -> tuple[str | None, str | None]:
    """Find what was traded in: a market or a ticker, and both only where nothing says which.

    Babylon resolves names whatever their case; its result has those that it found, one of the two.
    """
    parameters = action.parameters or _NOT_RECORDED
    executed, moved = _name(done.marketId), _name(done.ticker)
    if market is None and ticker is None:
        return executed, moved
    side = parameters.side if type(parameters.side) is str else None
    of = parameters.marketType
    if of == "perp" or (of != "prediction" and is_perpetual(action.actionType, side)):
        ticker = moved or ticker
        return (market, None) if ticker is None else (None, ticker)
    if market is not None and executed is not None:
        return executed, moved
    return market, None if of == "prediction" and market is not None else ticker


def _paid(
    parameters: _Parameters,
    done: Done,
    balance: Any,
    buys: bool,
    live: bool,
) -> tuple[float | None, float | None]:
    """Find what was paid for a share, in (0, 1), and for all: as executed, not as asked for.

    The parameters are the agent's own words today: who could hide a price, or write one, would do
    so where it pays. ``live``: of an action that Babylon's own executor carries out, in money.
    """
    shares, price = figure_in(done.shares), figure_in(done.avgPrice)
    if shares is not None and shares <= 0:
        shares = None
    if price is not None and not 0 < price < 1:
        price = None
    if price is not None and shares is not None:
        return price, price * shares
    staked = figure_in(parameters.amount)
    if buys:
        if live and shares is not None and not parameters.amount:
            staked = _ASKED_FOR_NOTHING
        owned = type(balance) is float or type(balance) is int  # of NPCs it is written as 0
        if owned and staked is not None and 0 < balance < staked:
            staked = float(balance)  # Babylon takes what there is
    if shares is None:
        written = None if price is not None else figure_in(parameters.price)
        return (written if written is not None and 0 < written < 1 else price), staked
    if not buys:  # a sale is cut to what is held, so its amount says nothing of the price
        return None, staked
    if staked is not None and 0 < staked < shares:
        return staked / shares, staked
    if live and parameters.marketType == "prediction":
        return _DEAREST, _DEAREST * shares
    return None, staked


def number_in(value: Any) -> float | None:
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:  # an integer too large for a float
        return None


def figure_in(value: Any) -> float | None:
    """Read a figure of a trade, which answers and decimals of databases give as text, too."""
    if type(value) is float or type(value) is int:
        return float(value) if -_NO_MONEY < value < _NO_MONEY else None
    if type(value) is not str:
        return None
    try:
        return money_in(float(value))
    except ValueError:
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
