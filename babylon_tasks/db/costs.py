"""What is on record of a lineage's costs; writes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from babylon_tasks.cost.records import (
    CostRecords,
    CountedAnswers,
    GradedWindow,
    MeasuredRun,
    Promoted,
    StepTook,
)
from babylon_tasks.db import clock
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_value

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def read(
    connection: Connection, lineage: str, *, since: datetime | None, answers: bool = True
) -> CostRecords:
    """Read all that is on record from a moment on, answers to agents if they are asked for.

    Learning and promotions: from the last promotion before that moment.
    """
    start = since or _EVER
    promoted_before = fetch_value(
        connection, "costs.promoted_before", datetime, lineage=lineage, moment=start
    )
    begin = promoted_before or _EVER
    found = of_learning(connection, lineage, since=begin)
    steps = sorted({one.step_id for one in found.runs if one.moment >= start})
    return CostRecords(
        runs=found.runs,
        gradings=found.gradings,
        screens=found.screens,
        answers=_answers(connection, lineage, start) if answers else [],
        steps=fetch_all(connection, "costs.steps", StepTook, steps=steps),
        promotions=fetch_all(
            connection, "costs.promotions", Promoted, lineage=lineage, since=begin
        ),
        since=since,
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


def _answers(connection: Connection, lineage: str, since: datetime) -> list[CountedAnswers]:
    """Read day by day: a statement's time is bounded, and there may be millions in a day."""
    found: list[CountedAnswers] = []
    start = fetch_value(connection, "costs.oldest_answer", datetime, since=since)
    now = clock.now(connection)
    while start is not None and start <= now:
        found += fetch_all(
            connection,
            "costs.answers",
            CountedAnswers,
            lineage=lineage,
            since=start,
            before=start + _DAY,
        )
        start += _DAY
    return found


def noted_as_spent(connection: Connection, lineage: str) -> bool:
    """Check whether the newest event about a lineage's budget says that it is spent."""
    return fetch_value(connection, "costs.noted_as_spent", bool, lineage=lineage) or False
