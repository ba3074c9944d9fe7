"""Read what the report of a lineage's run shows; writes nothing."""

from __future__ import annotations

from datetime import datetime

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all, fetch_one, fetch_value
from babylon_tasks.run_records import (
    PairedValues,
    RunCheckpoint,
    RunCommit,
    RunConclusion,
    RunDecision,
    RunGroup,
    RunRejections,
    RunRows,
    RunScreen,
    RunStep,
    RunWindow,
)

MOST_WINDOWS = 10_000  # and decisions, screens, conclusions
MOST_STEPS = 60
MOST_CHECKPOINTS = 100


def read(
    connection: Connection, lineage: str, *, since: datetime | None, limit: int = MOST_WINDOWS
) -> RunRows:
    """Read the newest windows from a moment on, and what was decided.

    At most ``limit`` rows of each kind.
    """
    bounds = {"lineage": lineage, "limit": limit}
    windows = fetch_all(connection, "run_report.windows", RunWindow, since=since, **bounds)
    if not windows:
        return RunRows([], [], [], [], [], [])
    first = windows[-1].window
    steps = steps_of(connection, lineage)
    checkpoints = fetch_all(
        connection,
        "run_report.checkpoints",
        RunCheckpoint,
        lineage=lineage,
        limit=MOST_CHECKPOINTS,
    )
    all_steps = fetch_value(connection, "run_report.how_many_steps", int, lineage=lineage) or 0
    return RunRows(
        windows=windows[::-1],
        rejections=fetch_all(
            connection, "run_report.rejections", RunRejections, lineage=lineage, first=first
        ),
        commits=fetch_all(connection, "run_report.commits", RunCommit, **bounds)[::-1],
        decisions=fetch_all(connection, "run_report.decisions", RunDecision, **bounds)[::-1],
        screens=fetch_all(connection, "run_report.screens", RunScreen, **bounds)[::-1],
        conclusions=fetch_all(
            connection, "run_report.conclusions", RunConclusion, first=first, **bounds
        )[::-1],
        left_out=fetch_value(connection, "run_report.left_out", int, since=since, first=first) or 0,
        steps=steps,
        steps_left_out=all_steps - len(steps),
        checkpoints=checkpoints,
        checkpoints_left_out=how_many_checkpoints(connection, lineage) - len(checkpoints),
    )


def how_many_checkpoints(connection: Connection, lineage: str) -> int:
    """Count the checkpoints of a lineage."""
    return fetch_value(connection, "run_report.how_many_checkpoints", int, lineage=lineage) or 0


def steps_of(connection: Connection, lineage: str, step: int | None = None) -> list[RunStep]:
    """Read the newest steps, or those that were to make one checkpoint; failed ones too."""
    bounds = {"lineage": lineage, "step": step, "limit": MOST_STEPS}
    return fetch_all(connection, "run_report.steps", RunStep, **bounds)


def step_groups(connection: Connection, lineage: str, step: int, *, limit: int) -> list[RunGroup]:
    """Read what the newest step of a number took; empty where it is no longer listed."""
    bounds = {"lineage": lineage, "step": step, "limit": limit}
    return fetch_all(connection, "run_report.step_groups", RunGroup, **bounds)


def paired_values(
    connection: Connection, lineage: str, *, now: int, before: int
) -> PairedValues | None:
    """Read what two checkpoints came to on one held-out set; None if there is none of both."""
    return fetch_one(
        connection,
        "run_report.paired_values",
        PairedValues,
        lineage=lineage,
        now=now,
        before=before,
    )
