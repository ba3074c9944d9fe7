"""How the markets of a window's trades ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from babylon_tasks.db import babylon
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.records import Outcome, Outcomes, Trajectory

_REMEMBERED = 10_000  # markets; a window trades in a few dozen, a hostile one must not fill memory


class OutcomeBook:
    """The outcomes that a window's trajectories need, asked for once each."""

    def __init__(self, connection: Connection, window: str) -> None:
        self._connection = connection
        self._window = window
        self._asked_markets: set[str] = set()
        self._asked_tickers: set[str] = set()
        self._known = Outcomes({}, {})

    def covering(self, trajectories: Iterable[Trajectory]) -> Outcomes:
        """What is known of every market that these trajectories traded in."""
        if len(self._asked_markets) + len(self._asked_tickers) > _REMEMBERED:
            self._asked_markets.clear()
            self._asked_tickers.clear()
            self._known = Outcomes({}, {})
        markets: set[str] = set()
        tickers: set[str] = set()
        for trajectory in trajectories:
            for decision in trajectory.decisions:
                if decision.correct is None:
                    if decision.market_id is not None:
                        markets.add(decision.market_id)
                        tickers.add(decision.market_id)  # where a perpetual's ticker may stand
                    if decision.ticker is not None:
                        tickers.add(decision.ticker)
        markets -= self._asked_markets
        tickers -= self._asked_tickers
        if markets or tickers:
            found = outcomes_for(self._connection, self._window, markets, tickers)
            self._known.markets.update(found.markets)
            self._known.tickers.update(found.tickers)
            self._asked_markets |= markets
            self._asked_tickers |= tickers
        return self._known


def outcomes_for(
    connection: Connection, window: str, markets: Collection[str], tickers: Collection[str]
) -> Outcomes:
    """How the given markets ended, from this window or a later one.

    A prediction market ends once, perhaps hours later: the latest row counts. A stock moves in
    every hour: the first window from this one on that has a row counts. Nothing is known where
    Babylon has no market_outcomes.
    """
    if babylon.missing(connection, "market_outcomes"):
        return Outcomes({}, {})
    statements = queries("outcomes")
    ended: dict[str, Outcome] = {}
    moved: dict[str, Outcome] = {}
    if markets:
        parameters = {"window": window, "markets": list(markets)}
        rows = connection.execute(statements["of_markets"], parameters)
        ended = {market: Outcome(yes=yes) for market, yes in rows}
    if tickers:
        parameters = {"window": window, "tickers": list(tickers)}
        rows = connection.execute(statements["of_stocks"], parameters)
        moved = {ticker: Outcome(change=change) for ticker, change in rows}
    return Outcomes(ended, moved)


def settle(connection: Connection, window: str, market: str, *, question: str, yes: bool) -> None:
    """Record, as Babylon does, that a prediction market has ended in a window."""
    connection.execute(
        queries("outcomes")["settle"],
        {
            "window": window,
            "market": market,
            "question": question,
            "outcome": "YES" if yes else "NO",
            "probability": 1 if yes else 0,
        },
    )
