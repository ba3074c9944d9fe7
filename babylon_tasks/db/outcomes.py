"""How markets ended: copied from Babylon's table into ours, and looked up there.

Babylon's table has no index by market, so look-ups would get slower with the window's age; and only
with a copy can later changes be detected.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from msgspec import Struct
from pydantic import SecretStr

from babylon_tasks.db import babylon, clock, reward_versions
from babylon_tasks.db.reward_versions import ChangedOutcome
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_one, fetch_pairs, fetch_value
from babylon_tasks.errors import BadWindowId
from babylon_tasks.records import Facts, Outcome, Outcomes, Trajectory
from babylon_tasks.settings import Settings
from babylon_tasks.vocabulary import ENDED_NO, ENDED_YES, LONGEST_NAME
from babylon_tasks.windows import WINDOW, window_id, window_start

_REMEMBERED = 10_000  # markets; a window has a few dozen, and a hostile one must not fill memory
_SLICE = 20_000  # rows of Babylon's that one transaction reads
_TRUSTED = 60.0  # seconds: by then our table may be another, restored from a backup
_WORDS = {"yes": list(ENDED_YES), "no": list(ENDED_NO)}


class _LookUps(Struct, frozen=True):
    """Names of the statements that look outcomes up."""

    markets: str
    stocks: str


_OURS = _LookUps("outcomes.of_markets", "outcomes.of_stocks")
_BABYLONS = _LookUps("outcomes.of_markets_in_babylon", "outcomes.of_stocks_in_babylon")


class _Look(Struct, frozen=True):
    """What Babylon had from an hour on; two are equal only if no row was written in between."""

    since: str
    rows: int
    writers: str


# By database, what this process has copied last, and when it began to.
_copied: dict[SecretStr, tuple[_Look, float]] = {}


class OutcomeBook:
    """The outcomes that a window's trajectories need, each looked up once."""

    def __init__(self, connection: Connection, window: str) -> None:
        self._connection = connection
        self._window = window
        self._look_ups = _look_ups(connection)
        self._asked_markets: set[str] = set()
        self._asked_tickers: set[str] = set()
        self._known = Outcomes({}, {})

    def covering(self, trajectories: Iterable[Facts | Trajectory]) -> Outcomes:
        """Look up what is known of every market that these trajectories traded in."""
        if len(self._asked_markets) + len(self._asked_tickers) > _REMEMBERED:
            self._asked_markets.clear()
            self._asked_tickers.clear()
            self._known = Outcomes({}, {})
        markets: set[str] = set()
        tickers: set[str] = set()
        for trajectory in trajectories:
            for action in trajectory.actions:
                if action.correct is None:
                    market, ticker = action.market_id, action.ticker
                    if market is not None and market not in self._asked_markets:
                        markets.add(market)
                        tickers.add(market)  # which may be a perpetual's ticker
                    if ticker is not None:
                        tickers.add(ticker)
        tickers -= self._asked_tickers
        if markets:
            self._known.markets.update(self._ended(markets))
        if tickers:
            self._known.tickers.update(self._moved(tickers))
        self._asked_markets |= markets
        self._asked_tickers |= tickers
        return self._known

    def _ended(self, markets: Collection[str]) -> dict[str, Outcome]:
        """Look up prediction markets: each ends once, perhaps hours later; the latest row wins."""
        if self._look_ups is None:
            return {}
        found = fetch_pairs(
            self._connection,
            self._look_ups.markets,
            str,
            bool,
            window=self._window,
            markets=list(markets),
            **_WORDS,
        )
        return {market: Outcome(yes=yes) for market, yes in found.items()}

    def _moved(self, tickers: Collection[str]) -> dict[str, Outcome]:
        """Look up stocks: they move in every hour; the first one from the window on counts."""
        if self._look_ups is None:
            return {}
        found = fetch_pairs(
            self._connection,
            self._look_ups.stocks,
            str,
            float,
            window=self._window,
            tickers=list(tickers),
        )
        return {ticker: Outcome(change=change) for ticker, change in found.items()}


def follow(connection: Connection, settings: Settings, *, since: datetime | None = None) -> int:
    """Copy new and changed outcomes from Babylon; returns the number of rows that differed.

    The first time it copies everything, then the hours of the look-back, or those from ``since``
    on. Windows with bets on them are marked to be scored anew in the same transaction. Does
    nothing if Babylon has no such table, or if nothing was written to it since this process copied
    from it, less than a minute ago. Safe from any number of callers.
    """
    if babylon.missing(connection, "market_outcomes"):
        return 0
    first = _start(connection, settings, since)
    # Comparing takes ten times as long as looking, and each scoring begins with it.
    look, began = _look(connection, first), time.monotonic()
    known, copied_at = _copied.get(settings.database_url, (None, 0.0))
    if look is not None and look == known and began - copied_at < _TRUSTED:
        return 0
    differed = 0
    start: str | None = first
    while start is not None:
        with connection.transaction():
            execute(connection, "outcomes.take_turn")
            end = fetch_value(connection, "outcomes.end_of_slice", str, since=start, rows=_SLICE)
            changed = fetch_all(
                connection,
                "outcomes.copy",
                ChangedOutcome,
                since=start,
                until="9999" if end is None else end,
                longest=LONGEST_NAME,
                **_WORDS,
            )
            reward_versions.mark(connection, changed)
        differed += len(changed)
        start = end
    if look is not None:
        _copied[settings.database_url] = look, began
    return differed


def not_understood(connection: Connection, since: str | None, limit: int) -> dict[str, int]:
    """Count values in Babylon's outcomes that mean neither YES nor NO."""
    if babylon.missing(connection, "market_outcomes"):
        return {}
    return fetch_pairs(
        connection, "outcomes.not_understood", str, int, since=since, limit=limit, **_WORDS
    )


def settle(connection: Connection, window: str, market: str, *, question: str, yes: bool) -> None:
    """Record, as Babylon does, that a prediction market has ended in a window."""
    execute(
        connection,
        "outcomes.settle",
        window=window,
        market=market,
        question=question,
        outcome="YES" if yes else "NO",
        probability=1 if yes else 0,
    )


def _start(connection: Connection, settings: Settings, since: datetime | None) -> str:
    """Choose the hour from which on Babylon's rows are compared with ours."""
    now = clock.of_hours(connection)
    newest = fetch_value(connection, "outcomes.newest", str, now=window_id(now))
    if newest is None:
        return ""
    # After a week without copies, continue where the last one stopped.
    back = max(timedelta(hours=settings.lookback_hours), _wait(settings) + WINDOW)
    try:
        start = window_start(newest) - back
    except (BadWindowId, OverflowError):  # no valid hour to count from: use the clock alone
        start = now - back
    return window_id(start if since is None else min(start, since))


def _look(connection: Connection, since: str) -> _Look | None:
    """Look at who wrote Babylon's rows from an hour on; None if they do not say so."""
    if not fetch_value(connection, "outcomes.show_writers", bool):
        return None
    return fetch_one(connection, "outcomes.look", _Look, since=since)


def _wait(settings: Settings) -> timedelta:
    return timedelta(hours=settings.outcome_wait_hours)


def _look_ups(connection: Connection) -> _LookUps | None:
    """Choose our statements once anything was copied, Babylon's before; None without either."""
    kept = fetch_value(connection, "outcomes.is_kept", bool)
    if kept and fetch_value(connection, "outcomes.newest", str, now="9999") is not None:
        return _OURS
    return None if babylon.missing(connection, "market_outcomes") else _BABYLONS
