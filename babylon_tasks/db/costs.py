"""What is on record of a lineage's costs; writes nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from babylon_tasks.cost.records import (
    CostRecords,
    CountedAnswers,
    GradedWindow,
    MeasuredRun,
    Promoted,
    StepTook,
)
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_value

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def read(connection: Connection, lineage: str, *, since: datetime | None) -> CostRecords:
    """Read all that is on record from a moment on."""
    start = since or _EVER
    found = of_learning(connection, lineage, since=start)
    steps = sorted({one.step_id for one in found.runs})
    return CostRecords(
        runs=found.runs,
        gradings=found.gradings,
        screens=found.screens,
        answers=fetch_all(
            connection, "costs.answers", CountedAnswers, lineage=lineage, since=start
        ),
        steps=fetch_all(connection, "costs.steps", StepTook, steps=steps),
        promotions=fetch_all(
            connection, "costs.promotions", Promoted, lineage=lineage, since=start
        ),
    )


def of_learning(connection: Connection, lineage: str, *, since: datetime) -> CostRecords:
    """Read what learning has cost from a moment on, and nothing else."""
    return CostRecords(
        runs=fetch_all(connection, "costs.runs", MeasuredRun, lineage=lineage, since=since),
        gradings=fetch_all(connection, "costs.gradings", GradedWindow, since=since),
        screens=fetch_all(
            connection, "costs.screens", CountedAnswers, lineage=lineage, since=since
        ),
        answers=[],
        steps=[],
        promotions=[],
    )


def noted_as_spent(connection: Connection, lineage: str) -> bool:
    """Check whether the newest event about a lineage's budget says that it is spent."""
    return fetch_value(connection, "costs.noted_as_spent", bool, lineage=lineage) or False
