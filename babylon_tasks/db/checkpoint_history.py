"""A checkpoint's life: what it was made from, screens, decisions, trials, when it served."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from babylon_tasks.db import screens
from babylon_tasks.db.promotions import Promotion
from babylon_tasks.db.screens import Screen
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_one
from babylon_tasks.decisions import Decision
from babylon_tasks.policy_names import policy_name

_SCREENS = 20


class CheckpointRow(Struct, frozen=True):
    """A checkpoint; ``windows`` are those of its step, and ``parent`` what that started from."""

    step: int
    parent: int | None
    created_at: datetime
    windows: list[str]
    serves: bool
    dead_at: datetime | None
    discarded_at: datetime | None
    pruned_at: datetime | None


class ServedTime(Struct, frozen=True):
    """When a checkpoint served; ``end`` is None while it does, ``windows``: what ended it."""

    begin: datetime
    end: datetime | None = None
    ended_by: str | None = None
    ended_why: str | None = None
    windows: list[str] = []


class ArmTime(Struct, frozen=True):
    """Since when a checkpoint had an arm of this share; another decision may have ended it."""

    from_window: str
    arm: str
    share: float


class TrialTime(Struct, frozen=True):
    """A trial of a checkpoint; ``conclusion``: that of its last window so far."""

    comparison: int
    first: str
    last: str
    windows: int
    conclusion: str


class CheckpointHistory(Struct, frozen=True):
    """All of it, each list in the order of time."""

    lineage: str
    checkpoint: CheckpointRow
    screens: list[Screen]
    decisions: list[Promotion]
    served: list[ServedTime]
    arms: list[ArmTime]
    trials: list[TrialTime]


def checkpoint_history(connection: Connection, lineage: str, step: int) -> CheckpointHistory | None:
    """Read all about a checkpoint; None where there is none."""
    about = {"lineage": lineage, "step": step}
    row = fetch_one(connection, "checkpoint_history.checkpoint", CheckpointRow, **about)
    if row is None:
        return None
    decisions = fetch_all(connection, "checkpoint_history.decisions", Promotion, **about)
    return CheckpointHistory(
        lineage=lineage,
        checkpoint=row,
        screens=screens.of_step(connection, lineage, step, limit=_SCREENS)[::-1],
        decisions=decisions,
        served=served(step, row.created_at, decisions),
        arms=fetch_all(connection, "checkpoint_history.arms", ArmTime, **about),
        trials=fetch_all(
            connection,
            "checkpoint_history.trials",
            TrialTime,
            lineage=lineage,
            name=policy_name(lineage, step),
        ),
    )


def served(step: int, made_at: datetime, decisions: Iterable[Promotion]) -> list[ServedTime]:
    """List when a checkpoint served; the base model did from the beginning. Pure."""
    found: list[ServedTime] = []
    since = made_at if step == 0 else None
    for one in decisions:
        if one.decision is Decision.HOLD or one.from_step == one.to_step:
            continue
        if one.to_step == step:
            since = one.decided_at
        elif since is not None:
            windows = [str(name) for name in one.figures.get("windows") or []]
            found.append(ServedTime(since, one.decided_at, one.actor, one.reason, windows))
            since = None
    return found if since is None else [*found, ServedTime(since)]
