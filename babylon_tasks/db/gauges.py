"""The state of the whole system in figures, read in one short session for each scrape."""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.db import reward_versions
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.states import StepState, WindowState


class Rewards(Struct, frozen=True):
    """Of the newest window that has any: share of known bets that were right and mean profit
    (None: nothing known), standard deviation of the rewards, unix time of its scoring."""

    right_share: float | None
    profit_mean: float | None
    spread: float
    scored_at: float


class Evaluation(Struct, frozen=True):
    """The value of a checkpoint on held-out groups; see ``training/offline_evaluation.py``."""

    value: float
    coverage: float
    entropy: float
    groups: int


class Standing(Struct, frozen=True):
    """A lineage; ``lease_age``: seconds since the lease was renewed, 0 where it is free."""

    head_step: int
    serving_step: int
    leased: bool
    lease_age: float


class Gauges(Struct, frozen=True):
    """All of it. Ages in seconds, times in unix seconds; 0 where there is nothing yet.

    ``awaiting_outcomes`` and ``to_score_anew`` count windows, ``left_over`` the trajectories that
    steps have left to later ones. ``evaluations``: by ``head`` and
    ``serving``, where these checkpoints have one.
    """

    windows: dict[str, int]
    oldest_waiting: float
    awaiting_outcomes: int
    to_score_anew: int
    left_over: int
    rewards: Rewards | None
    lineage: Standing | None
    steps: dict[str, int]
    committed_at: float
    decisions: dict[str, int]
    promoted_at: float
    evaluations: dict[str, Evaluation]


def read(connection: Connection, lineage: str, lease_seconds: float) -> Gauges:
    """What Postgres knows, in ten indexed or small reads."""
    found = queries("gauges")
    about = {"lineage": lineage, "lease": lease_seconds}
    windows: dict[str, int] = dict(connection.execute(found["windows"]).fetchall())
    waiting = connection.execute(found["waiting"]).fetchone()
    pending = reward_versions.waiting(connection)
    left_over = connection.execute(found["left_over"]).fetchone()
    rewards = connection.execute(found["rewards"]).fetchone()
    row = connection.execute(found["lineage"], about).fetchone()
    standing = None if row is None else Standing(*row)
    steps = connection.execute(found["steps"], about).fetchall()
    decisions = connection.execute(found["decisions"], about).fetchall()
    evaluations = {}
    if standing is not None:
        for role, step in (("head", standing.head_step), ("serving", standing.serving_step)):
            at = {"lineage": lineage, "step": step}
            if (valued := connection.execute(found["evaluation"], at).fetchone()) is not None:
                evaluations[role] = Evaluation(*valued)
    return Gauges(
        windows={state: windows.get(state, 0) for state in WindowState},
        oldest_waiting=(waiting[0] if waiting else None) or 0.0,
        awaiting_outcomes=pending.windows,
        to_score_anew=pending.to_score_anew,
        left_over=0 if left_over is None else left_over[0],
        rewards=None if rewards is None else Rewards(*rewards),
        lineage=standing,
        steps={state: _count(steps, state) for state in StepState},
        committed_at=_last(steps, StepState.COMMITTED),
        decisions={made: _count(decisions, made) for made in ("promote", "hold", "rollback")},
        promoted_at=_last(decisions, "promote"),
        evaluations=evaluations,
    )


def _count(rows: list[tuple[str, int, float | None]], name: str) -> int:
    return next((count for found, count, _ in rows if found == name), 0)


def _last(rows: list[tuple[str, int, float | None]], name: str) -> float:
    return next((moment or 0.0 for found, _, moment in rows if found == name), 0.0)
