"""What ``show`` reads of scored trajectories; each statement by an index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_one, fetch_values
from babylon_tasks.run_records import RunGroup


class NewestScore(Struct, frozen=True):
    """The newest reward of a trajectory, and what it was made of."""

    window: str
    reward_version: int
    reward: float
    group_key: str
    components: dict[str, Any]
    scorer: str


class Extreme(Struct, frozen=True):
    """One of the best, or else one of the worst."""

    trajectory_id: str
    best: bool


class CapturedAnswer(Struct, frozen=True):
    """Who gave an answer, by the gateway's capture: a lineage's checkpoint, or another server's
    model."""

    place: int
    lineage: str
    step: int | None
    model: str | None


def score(connection: Connection, trajectory: str) -> NewestScore | None:
    """Read the newest reward of a trajectory; None where it has none."""
    return fetch_one(connection, "closeups.score", NewestScore, trajectory=trajectory)


def comparable_rewards(connection: Connection, of: NewestScore) -> list[float]:
    """List what a trajectory was compared with, and itself, the best first."""
    return fetch_values(
        connection,
        "closeups.comparable_rewards",
        float,
        window=of.window,
        version=of.reward_version,
        group_key=of.group_key,
    )


def extremes(
    connection: Connection, windows: Sequence[str], *, best: int, worst: int
) -> list[Extreme]:
    """List the best and the worst of some windows, both beginning with the most extreme."""
    return fetch_all(
        connection, "closeups.extremes", Extreme, windows=list(windows), best=best, worst=worst
    )


def comparable(connection: Connection, window: str, *, limit: int) -> list[RunGroup]:
    """Read what was asked the same in a window, and what each got."""
    return fetch_all(connection, "closeups.comparable", RunGroup, windows=[window], limit=limit)


def captured(
    connection: Connection, trajectory: str, since: datetime, until: datetime
) -> dict[int, CapturedAnswer]:
    """Read who gave the captured answers of a trajectory, by their place among its calls."""
    found = fetch_all(
        connection,
        "closeups.captured",
        CapturedAnswer,
        trajectory=trajectory,
        since=since,
        until=until,
    )
    return {one.place: one for one in found}
