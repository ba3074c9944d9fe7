"""The state of the whole system in figures, read in one short session per scrape."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from babylon_tasks.db import circuits, reward_versions, tripwires, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_one, fetch_value
from babylon_tasks.decisions import Decision
from babylon_tasks.states import StepState


class RewardFigures(Struct, frozen=True):
    """Figures of the newest window that has rewards: share of known bets that were right and mean
    profit (None: nothing known), standard deviation of the rewards, Unix time of its scoring."""

    right_share: float | None
    profit_mean: float | None
    spread: float
    scored_at: float


class EvaluationFigures(Struct, frozen=True):
    """The value of a checkpoint on held-out groups; see ``training/off_policy_evaluation.py``.

    ``commonest``: the largest share of its answers to one kind of question that come to the same;
    None if that is not known, or no kind has 8 groups.
    """

    value: float
    coverage: float
    entropy: float
    groups: int
    commonest: float | None


class LineageFigures(Struct, frozen=True):
    """A lineage; ``lease_age``: seconds since the lease was renewed, 0 if it is free.

    ``troubled``: its files are damaged. ``refusals``: checkpoints refused or rolled back
    for harm since the last promotion.
    """

    head_step: int
    serving_step: int
    leased: bool
    lease_age: float
    troubled: bool
    refusals: int


class _Counted(Struct, frozen=True):
    """How many rows have a name (a state, a decision), and when the newest came, in Unix time."""

    name: str
    count: int
    last_at: float | None


class Gauges(Struct, frozen=True):
    """All figures. Ages in seconds, times in Unix seconds; 0 if there is nothing yet.

    ``awaiting_outcomes``, ``to_score_anew`` and ``tripped`` count windows, ``left_over``
    trajectories for later steps. ``circuits``: whether it is open, by name. ``evaluations``: by
    ``head`` and ``serving``, if these checkpoints have one. ``newest_step``: what was measured in
    the newest committed one.
    """

    windows: dict[str, int]
    oldest_due: float
    awaiting_outcomes: int
    to_score_anew: int
    left_over: int
    tripped: int
    rewards: RewardFigures | None
    lineage: LineageFigures | None
    circuits: dict[str, bool]
    steps: dict[str, int]
    committed_at: float
    decisions: dict[str, int]
    promoted_at: float
    evaluations: dict[str, EvaluationFigures]
    newest_step: dict[str, Any]


def read(connection: Connection, lineage: str, lease_seconds: float) -> Gauges:
    """Read all figures from Postgres, in thirteen indexed or small reads."""
    pending = reward_versions.waiting(connection)
    figures = fetch_one(
        connection, "gauges.lineage", LineageFigures, lineage=lineage, lease=lease_seconds
    )
    steps = _counted(connection, "gauges.steps", lineage)
    decisions = _counted(connection, "gauges.decisions", lineage)
    evaluations = {}
    if figures is not None:
        for role, step in (("head", figures.head_step), ("serving", figures.serving_step)):
            evaluated = fetch_one(
                connection, "gauges.evaluation", EvaluationFigures, lineage=lineage, step=step
            )
            if evaluated is not None:
                evaluations[role] = evaluated
    return Gauges(
        windows=windows.counts(connection, lineage=lineage),
        oldest_due=fetch_value(connection, "gauges.oldest_due", float, lineage=lineage) or 0.0,
        awaiting_outcomes=pending.windows,
        to_score_anew=pending.to_score_anew,
        left_over=fetch_value(connection, "gauges.left_over", int, lineage=lineage) or 0,
        tripped=tripwires.tripped_windows(connection, lineage),
        rewards=fetch_one(connection, "gauges.rewards", RewardFigures),
        lineage=figures,
        circuits=dict.fromkeys((circuits.SCORING, circuits.training(lineage)), False)
        | {circuit.name: True for circuit in circuits.opened(connection)},
        steps={state: _count(steps, state) for state in StepState},
        committed_at=_last_at(steps, StepState.COMMITTED),
        decisions={made: _count(decisions, made) for made in Decision},
        promoted_at=_last_at(decisions, Decision.PROMOTE),
        evaluations=evaluations,
        newest_step=fetch_value(connection, "gauges.newest_step", dict, lineage=lineage) or {},
    )


def _counted(connection: Connection, query: str, lineage: str) -> dict[str, _Counted]:
    rows = fetch_all(connection, query, _Counted, lineage=lineage)
    return {row.name: row for row in rows}


def _count(rows: dict[str, _Counted], name: str) -> int:
    return rows[name].count if name in rows else 0


def _last_at(rows: dict[str, _Counted], name: str) -> float:
    return (rows[name].last_at or 0.0) if name in rows else 0.0
