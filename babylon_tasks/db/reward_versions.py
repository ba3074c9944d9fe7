"""Reward versions: which windows wait for outcomes, which are to be scored anew, and why.

A window's newest reward version belongs to the outcomes that ``training.bets`` stores beside it; if
these differ from what is known now, the window is marked. Nothing is overwritten, and what a step
has used keeps the version that it was used with.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct, structs

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_one, fetch_values, recordset
from babylon_tasks.db.window_transitions import move
from babylon_tasks.reasons import ScoreAnewReason
from babylon_tasks.settings import Settings
from babylon_tasks.states import SEAL_AGAIN, WindowState

_NAMED = 20  # markets that one event names


class RewardVersion(Struct, frozen=True):
    """One scoring of a window; ``used``: trajectories that steps took with it.

    ``because`` is None for the first; ``came``: market to ``yes``, ``no``, a change in percent, or
    None if an outcome was withdrawn.
    """

    version: int
    scored_at: datetime
    scored: int
    right_share: float | None
    profit_mean: float | None
    used: int
    because: str | None
    came: dict[str, str | float | None] | None


class ChangedOutcome(Struct, frozen=True):
    """An outcome that came, changed or was withdrawn, of the hour ``window_id``."""

    kind: str
    name: str
    window_id: str


class _Due(Struct, frozen=True):
    """A window to be sealed again; ``score_anew``: why, None where only its wait has ended."""

    window: str
    state: WindowState
    score_anew: str | None
    reward_version: int


class _Came(Struct, frozen=True):
    """The current outcome of a bet's market, where it differs from the rewarded one."""

    name: str
    yes_now: bool | None
    change_now: float | None

    @property
    def now(self) -> str | float | None:
        """The outcome in the form of ``RewardVersion.came``."""
        if self.yes_now is None:
            return self.change_now
        return "yes" if self.yes_now else "no"


class _NextWaiting(Struct, frozen=True):
    window: str
    until: datetime


class WaitingForOutcomes(Struct, frozen=True):
    """Counts of windows that wait for outcomes and of those to be scored anew.

    ``next_window`` is the one whose wait ends first, ``names`` some of the markets it waits for.
    """

    windows: int
    to_score_anew: int
    next_window: str | None = None
    next_until: datetime | None = None
    names: list[str] = []


def mark(connection: Connection, changed: Sequence[ChangedOutcome]) -> list[str]:
    """Mark the windows with bets on changed outcomes.

    Call it in the transaction that changes them, under the lock of ``outcomes.follow``. The end of
    scoring takes that lock too, so a window that is being scored is marked by ``mark_scored``.
    """
    if not changed:
        return []
    marked = fetch_values(
        connection,
        "reward_versions.mark",
        str,
        changed=recordset(changed),
        because=ScoreAnewReason.OUTCOMES,
    )
    return sorted(marked)


def mark_scored(connection: Connection, window: str) -> None:
    """Mark a window whose scoring ends in this transaction, under the lock of ``take_part``."""
    execute(
        connection, "reward_versions.mark_scored", window=window, because=ScoreAnewReason.OUTCOMES
    )


def seal_again(connection: Connection, settings: Settings, *, limit: int, actor: str) -> list[str]:
    """Seal marked windows again, each at most once per round; windows in training are left alone.

    Call it in a transaction. Safe from any number of callers: windows that another has locked are
    skipped.
    """
    again = settings.again_after_seconds
    due = fetch_all(connection, "reward_versions.due", _Due, again=again, limit=limit)
    for row in due:
        came = fetch_all(connection, "reward_versions.came", _Came, window=row.window)
        detail = {
            "from": row.state,
            "because": row.score_anew or ScoreAnewReason.WAIT_IS_OVER,
            "reward_version": row.reward_version + 1,
            "came": {one.name: one.now for one in came[:_NAMED]},
            "outcomes": len(came),
        }
        move(connection, row.window, SEAL_AGAIN, WindowState.SEALED, actor=actor, detail=detail)
    return [row.window for row in due]


def waiting(connection: Connection) -> WaitingForOutcomes:
    """Count windows that wait for outcomes or a new scoring; name the next one's markets."""
    counts = fetch_one(connection, "reward_versions.waiting", WaitingForOutcomes)
    assert counts is not None  # noqa: S101  # an aggregate always has a row
    first = fetch_one(connection, "reward_versions.next_waiting", _NextWaiting)
    if first is None:
        return counts
    return structs.replace(
        counts,
        next_window=first.window,
        next_until=first.until,
        names=waits_for(connection, first.window, limit=5),
    )


def waits_for(connection: Connection, window: str, *, limit: int = 100) -> list[str]:
    """List markets of a window's bets without a known outcome; at most ``limit``."""
    return fetch_values(connection, "reward_versions.unknown", str, window=window, limit=limit)


def of_window(connection: Connection, window: str) -> list[RewardVersion]:
    """List all reward versions of a window, oldest first."""
    return fetch_all(connection, "reward_versions.of_window", RewardVersion, window=window)
