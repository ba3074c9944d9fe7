"""Windows with work to be done: those that need a message, and those that a step takes next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from babylon_tasks.db import circuits
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_all, fetch_values
from babylon_tasks.settings import Settings


class ScoredWindow(Struct, frozen=True):
    """A window that a step may take.

    ``attempts`` counts training runs that began with it and did not finish; ``changes`` as in
    ``Window``.
    """

    window: str
    reward_version: int
    attempts: int
    changes: int


class RewardedWindow(Struct, frozen=True):
    """A window with answers that the lineage has not used."""

    window: str
    reward_version: int


def scored(
    connection: Connection, limit: int, *, lineage: str, first: str | None = None
) -> list[ScoredWindow]:
    """List windows that the lineage may take, in the order of its steps, ``first`` first."""
    return fetch_all(
        connection,
        "due_windows.scored",
        ScoredWindow,
        limit=limit,
        lineage=lineage,
        first=first,
    )


def rewarded(
    connection: Connection, *, lineage: str, since: datetime | None
) -> list[RewardedWindow]:
    """List windows of which a supervised step may take answers, newest first."""
    return fetch_all(
        connection, "due_windows.rewarded", RewardedWindow, lineage=lineage, since=since
    )


def pick_to_score(connection: Connection, settings: Settings, *, limit: int) -> list[str]:
    """Pick windows that need a scoring message and mark it as sent: no two callers get the same."""
    if circuits.is_paused(connection, circuits.SCORING):
        return []
    return _pick(connection, "due_windows.pick_to_score", settings, limit)


def pick_to_train(
    connection: Connection, settings: Settings, *, limit: int, only_begun: bool = False
) -> list[str]:
    """Pick windows that need a training message, scored or of a step whose worker is gone.

    Marks it as sent: no two callers get the same. ``only_begun``: only the latter.
    """
    if circuits.is_paused(connection, circuits.training(settings.lineage)):
        return []
    recover = _pick(connection, "due_windows.pick_to_recover", settings, limit)
    if recover or only_begun:
        return recover
    return _pick(connection, "due_windows.pick_to_train", settings, limit)


def mark_enqueued(connection: Connection, windows: Sequence[str]) -> None:
    """Note that a message was sent for these windows."""
    execute(connection, "due_windows.mark_enqueued", windows=list(windows))


def _pick(connection: Connection, name: str, settings: Settings, limit: int) -> list[str]:
    picked = fetch_values(
        connection,
        name,
        str,
        lineage=settings.lineage,
        again=settings.again_after_seconds,
        limit=limit,
    )
    return sorted(picked)
