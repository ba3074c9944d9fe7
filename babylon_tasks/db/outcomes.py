"""How markets ended: copied from Babylon's table into ours, and looked up there.

Babylon's table has no index by market, so a look-up would get slower with the window's age; and
only with a copy can later changes be detected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from babylon_tasks.db import babylon, reward_versions, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.errors import BadWindowId
from babylon_tasks.records import Outcome, Outcomes, Trajectory
from babylon_tasks.settings import Settings
from babylon_tasks.vocabulary import ENDED_NO, ENDED_YES
from babylon_tasks.windows import WINDOW, window_id, window_start

_REMEMBERED = 10_000  # markets; a window has a few dozen, and a hostile one must not fill memory
_SLICE = 20_000  # rows of Babylon's that one transaction looks at
_WORDS = {"yes": list(ENDED_YES), "no": list(ENDED_NO)}


class OutcomeBook:
    """The outcomes that a window's trajectories need, asked for once each."""

    def __init__(self, connection: Connection, window: str) -> None:
        self._connection = connection
        self._window = window
        self._where = _where(connection)
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
        if markets:
            self._known.markets.update(self._ended(markets))
        if tickers:
            self._known.tickers.update(self._moved(tickers))
        self._asked_markets |= markets
        self._asked_tickers |= tickers
        return self._known

    def _ended(self, markets: Collection[str]) -> dict[str, Outcome]:
        """A prediction market ends once, perhaps hours later: the latest word counts."""
        if self._where is None:
            return {}
        parameters = {"window": self._window, "markets": list(markets), **_WORDS}
        found = self._connection.execute(
            queries("outcomes")[f"of_markets{self._where}"], parameters
        )
        return {market: Outcome(yes=yes) for market, yes in found}

    def _moved(self, tickers: Collection[str]) -> dict[str, Outcome]:
        """A stock moves in every hour: the first one from the window on counts."""
        if self._where is None:
            return {}
        parameters = {"window": self._window, "tickers": list(tickers)}
        found = self._connection.execute(queries("outcomes")[f"of_stocks{self._where}"], parameters)
        return {ticker: Outcome(change=change) for ticker, change in found}


def follow(connection: Connection, settings: Settings, *, since: datetime | None = None) -> int:
    """Copy new and changed outcomes from Babylon; returns the number of rows that differed.

    Everything the first time, then the hours of the look-back, or those from ``since`` on. Windows
    with bets on them are marked to be scored anew in the same transaction. Where Babylon has no
    such table, does nothing. Safe from any number of callers.
    """
    if babylon.missing(connection, "market_outcomes"):
        return 0
    start: str | None = _start(connection, settings, since)
    differed = 0
    while start is not None:
        with connection.transaction():
            connection.execute(queries("outcomes")["take_turn"])
            slice_ = {"since": start, "rows": _SLICE}
            end = connection.execute(queries("outcomes")["end_of_slice"], slice_).fetchone()
            hours = {"since": start, "until": "9999" if end is None else end[0]}
            changed = connection.execute(
                queries("outcomes")["copy"], {**hours, **_WORDS}
            ).fetchall()
            reward_versions.mark(connection, [(kind, name, at) for kind, name, at in changed])
        differed += len(changed)
        start = None if end is None else end[0]
    return differed


def not_understood(connection: Connection, since: str | None, limit: int) -> dict[str, int]:
    """Words in Babylon's outcomes that mean neither YES nor NO, with their counts."""
    if babylon.missing(connection, "market_outcomes"):
        return {}
    parameters = {"since": since, "limit": limit, **_WORDS}
    return dict(connection.execute(queries("outcomes")["not_understood"], parameters).fetchall())


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


def _start(connection: Connection, settings: Settings, since: datetime | None) -> str:
    """The hour from which on Babylon's rows are compared with ours."""
    now = windows.clock(connection)
    newest = {"now": window_id(now)}
    row = connection.execute(queries("outcomes")["newest"], newest).fetchone()
    if row is None:
        return ""
    # After a week without copies, go on where the last one stopped.
    back = max(timedelta(hours=settings.lookback_hours), _wait(settings) + WINDOW)
    try:
        start = window_start(row[0]) - back
    except (BadWindowId, OverflowError):  # no hour to count from: go by the clock alone
        start = now - back
    return window_id(start if since is None else min(start, since))


def _wait(settings: Settings) -> timedelta:
    return timedelta(hours=settings.outcome_wait_hours)


def _where(connection: Connection) -> str | None:
    """Which statements to ask: ours, once anything was copied; Babylon's before; None: neither."""
    kept = connection.execute(queries("outcomes")["is_kept"]).fetchone()
    if kept is not None and kept[0]:
        newest = connection.execute(queries("outcomes")["newest"], {"now": "9999"})
        if newest.fetchone() is not None:
            return ""
    return None if babylon.missing(connection, "market_outcomes") else "_in_babylon"
