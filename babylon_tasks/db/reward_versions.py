"""Rewards made anew: which windows wait for outcomes, which are to be scored again, and why.

A window's newest reward version belongs to the outcomes that ``training.bets`` keeps beside it;
where they differ from what is known now, it is marked. Nothing is overwritten, and what a step has
used keeps the version that it was used with.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from babylon_tasks.db import events
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState, check_window

OUTCOMES = "outcomes came or changed"
_WAIT_IS_OVER = "the wait for outcomes is over"
_NAMED = 20  # markets that one event names


class RewardVersion(Struct, frozen=True):
    """One time that a window was scored; ``used``: trajectories that steps took with it.

    ``because`` is None for the first; ``came``: market to ``yes``, ``no``, a change in percent, or
    None where an outcome was taken back.
    """

    version: int
    scored_at: datetime
    scored: int
    right_share: float | None
    profit_mean: float | None
    used: int
    because: str | None
    came: dict[str, str | float | None] | None


class WaitingForOutcomes(Struct, frozen=True):
    """Counts of windows that wait for outcomes and of those to be scored anew.

    ``next_window`` is the one whose wait ends first, ``names`` some of the markets it waits for.
    """

    windows: int
    to_score_anew: int
    next_window: str | None = None
    next_until: datetime | None = None
    names: list[str] = []


def mark(connection: Connection, changed: Sequence[tuple[str, str, str]]) -> list[str]:
    """Mark the windows with bets on changed outcomes, given as (kind, name, hour).

    Call it in the transaction that changes them, under the lock of ``outcomes.follow``. The end of
    scoring holds that lock too, so a window that is being scored is marked by ``mark_scored``.
    """
    if not changed:
        return []
    kinds, names, hours = zip(*changed, strict=True)
    parameters = {
        "kinds": list(kinds),
        "names": list(names),
        "windows": list(hours),
        "because": OUTCOMES,
    }
    rows = connection.execute(queries("reward_versions")["mark"], parameters).fetchall()
    return sorted(row[0] for row in rows)


def mark_scored(connection: Connection, window: str) -> None:
    """Mark a window whose scoring ends in this transaction, under the lock of ``take_part``."""
    parameters = {"window": window, "because": OUTCOMES}
    connection.execute(queries("reward_versions")["mark_scored"], parameters)


def seal_again(connection: Connection, settings: Settings, *, limit: int, actor: str) -> list[str]:
    """Seal marked windows again, each at most once a round; windows in training are left alone.

    Call it in a transaction. Safe from any number of callers: windows that another has locked are
    skipped.
    """
    found = queries("reward_versions")
    # A little less than beat's interval, or every other round would come too early.
    parameters = {"again": settings.upkeep_interval_seconds * 0.9, "limit": limit}
    rows = connection.execute(found["due"], parameters).fetchall()
    for window, state, because, version in rows:
        check_window(WindowState(state), WindowState.SEALED, window)
        came = _came(connection, window)
        connection.execute(found["seal_again"], {"window": window})
        detail = {
            "from": state,
            "because": because or _WAIT_IS_OVER,
            "reward_version": version + 1,
            "came": dict(list(came.items())[:_NAMED]),
            "outcomes": len(came),
        }
        events.record(connection, "score_anew", actor=actor, window=window, detail=detail)
    return [row[0] for row in rows]


def waiting(connection: Connection) -> WaitingForOutcomes:
    """Count windows that wait for outcomes or a new scoring; name the next one's markets."""
    found = queries("reward_versions")
    counts = connection.execute(found["waiting"]).fetchone()
    assert counts is not None  # noqa: S101  # an aggregate always has a row
    first = connection.execute(found["next_waiting"]).fetchone()
    windows, anew = counts
    if first is None:
        return WaitingForOutcomes(windows, anew)
    window, until = first
    names = waits_for(connection, window, limit=5)
    return WaitingForOutcomes(windows, anew, window, until, names)


def waits_for(connection: Connection, window: str, *, limit: int = 100) -> list[str]:
    """The markets of a window's bets whose outcome is not known now; at most ``limit``."""
    parameters = {"window": window, "limit": limit}
    rows = connection.execute(queries("reward_versions")["unknown"], parameters).fetchall()
    return [row[0] for row in rows]


def of_window(connection: Connection, window: str) -> list[RewardVersion]:
    """All reward versions of a window, oldest first."""
    rows = connection.execute(queries("reward_versions")["of_window"], {"window": window})
    return [RewardVersion(*row) for row in rows.fetchall()]


def _came(connection: Connection, window: str) -> dict[str, str | float | None]:
    rows = connection.execute(queries("reward_versions")["came"], {"window": window}).fetchall()
    return {name: change if yes is None else "yes" if yes else "no" for name, yes, change in rows}
