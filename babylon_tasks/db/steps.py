"""Training steps: planned with their claim on the data, run, failed; see ``commits`` for the end.

Every function that writes takes the lease and works under its lock: a superseded claimant
meets StaleLease and has changed nothing. Call them inside ``with connection.transaction():`` where
several belong together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from babylon_tasks.db import consumption, events, step_windows
from babylon_tasks.db.consumption import Use
from babylon_tasks.db.lineages import Lease, lock_lineage
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.errors import StaleLease
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.settings import Settings
from babylon_tasks.states import StepState, check_step


class Step(Struct, frozen=True):
    """A step's row; ``due``: no wait for its next attempt is left."""

    id: int
    lineage: str
    base_step: int
    target_step: int
    state: str
    fencing_token: int
    attempts: int
    windows: list[str]
    manifest_hash: str
    manifest: dict[str, Any]
    due: bool


class Result(Struct, frozen=True):
    """What a verified run did, as it is stored."""

    gradient_steps: int
    trainable_tokens: int
    adapter_hash: str | None
    uri: str
    inference_name: str
    metrics: dict[str, float]


def unfinished(connection: Connection, lineage: str) -> Step | None:
    """The step that was begun and not ended, if there is one."""
    with connection.cursor(row_factory=class_row(Step)) as cursor:
        return cursor.execute(queries("steps")["unfinished"], {"lineage": lineage}).fetchone()


def plan(
    connection: Connection,
    lease: Lease,
    *,
    backend: str,
    windows: Mapping[str, int],
    manifest: bytes,
    manifest_hash: str,
    uses: Sequence[Use],
    actor: str,
) -> Step | None:
    """Write a step from the head, its windows and all it consumes, in one transaction.

    ``windows`` maps each to the reward version that was planned from; returns None, with nothing
    written, where one has moved on. Raises StaleLease, DatabaseError where a trajectory has been
    used before.
    """
    found = queries("steps")
    with connection.transaction():
        head, _ = lock_lineage(connection, lease)
        if not step_windows.lock_scored(connection, windows):
            return None
        with connection.cursor(row_factory=class_row(Step)) as cursor:
            step = cursor.execute(
                found["plan"],
                {
                    "lineage": lease.lineage,
                    "base_step": head,
                    "fencing_token": lease.fencing_token,
                    "backend": backend,
                    "windows": list(windows),
                    "manifest_hash": manifest_hash,
                    "manifest": Jsonb(msgspec.json.decode(manifest)),
                },
            ).fetchone()
        assert step is not None  # noqa: S101  # INSERT ... RETURNING without a conflict clause
        for window in windows:
            step_windows.take(connection, window)
        consumption.consume(connection, lease, uses, step_id=step.id)
        detail = {
            "step": step.target_step,
            "windows": list(windows),
            "trajectories": len(uses),
            "manifest": manifest_hash,
            "fencing_token": lease.fencing_token,
        }
        _record(connection, "step_planned", step, actor, detail)
    return step


def take_over(connection: Connection, lease: Lease, step: Step, *, actor: str) -> Step:
    """Put an unfinished step under the new fencing token; raises StaleLease."""
    with connection.transaction():
        lock_lineage(connection, lease)
        parameters = {"step_id": step.id, "fencing_token": lease.fencing_token}
        if not connection.execute(queries("steps")["adopt"], parameters).rowcount:
            raise _gone(step, lease)
        detail = {
            "from_token": step.fencing_token,
            "fencing_token": lease.fencing_token,
            "attempts": step.attempts,
        }
        _record(connection, "step_taken_over", step, actor, detail)
    return msgspec.structs.replace(step, fencing_token=lease.fencing_token)


def start(connection: Connection, lease: Lease, step: Step, *, again: bool, actor: str) -> None:
    """The run begins; ``again``: it is not the first of this step."""
    found = queries("steps")
    parameters = {"step_id": step.id, "fencing_token": lease.fencing_token}
    with connection.transaction():
        lock_lineage(connection, lease)
        if again:
            if not connection.execute(found["try_again"], parameters).rowcount:
                raise _gone(step, lease)
            step_windows.count_attempt(connection, step.windows, 1)
        if step.state == StepState.PLANNED:
            check_step(StepState.PLANNED, StepState.RUNNING, step.id)
            if not connection.execute(found["start"], parameters).rowcount:
                raise _gone(step, lease)
        detail = {"attempts": step.attempts + again, "fencing_token": lease.fencing_token}
        _record(connection, "step_running", step, actor, detail)


def progress(
    connection: Connection,
    lease: Lease,
    step: Step,
    state: Mapping[str, Any],
) -> None:
    """How far the run has come; without a lock: it is overwritten in a moment."""
    parameters = {
        "step_id": step.id,
        "fencing_token": lease.fencing_token,
        "progress": Jsonb(dict(state)),
    }
    connection.execute(queries("steps")["progress"], parameters)


def postpone(
    connection: Connection, lease: Lease, step: Step, error: str, *, delay: float, actor: str
) -> None:
    """The trainer died: leave the step to its next attempt, ``delay`` seconds from now."""
    parameters = {
        "step_id": step.id,
        "fencing_token": lease.fencing_token,
        "error": error[:2000],
        "delay": delay,
    }
    with connection.transaction():
        lock_lineage(connection, lease)
        connection.execute(queries("steps")["postpone"], parameters)
        detail = {"error": error[:2000], "attempts": step.attempts, "again_in_seconds": delay}
        _record(connection, "step_broke_off", step, actor, detail)


def interrupt(connection: Connection, lease: Lease, step: Step, why: str, *, actor: str) -> None:
    """The run was stopped from outside: the step waits, and the attempt does not count."""
    found = queries("steps")
    with connection.transaction():
        lock_lineage(connection, lease)
        parameters = {"step_id": step.id, "fencing_token": lease.fencing_token, "error": why}
        if connection.execute(found["give_back_try"], parameters).rowcount:
            step_windows.count_attempt(connection, step.windows, -1)
        _record(connection, "step_interrupted", step, actor, {"why": why})


def trained(
    connection: Connection, lease: Lease, step: Step, result: Result, *, actor: str
) -> None:
    """The verified word of the backend; raises StaleLease."""
    check_step(StepState.RUNNING, StepState.TRAINED, step.id)
    parameters = {
        "step_id": step.id,
        "fencing_token": lease.fencing_token,
        "metrics": Jsonb(result.metrics),
        "gradient_steps": result.gradient_steps,
        "trainable_tokens": result.trainable_tokens,
        "adapter_hash": result.adapter_hash,
    }
    with connection.transaction():
        lock_lineage(connection, lease)
        if not connection.execute(queries("steps")["trained"], parameters).rowcount:
            raise _gone(step, lease)
        detail = {
            "gradient_steps": result.gradient_steps,
            "trainable_tokens": result.trainable_tokens,
            "adapter_hash": result.adapter_hash,
        }
        _record(connection, "step_trained", step, actor, detail)


def fail(
    connection: Connection,
    lease: Lease,
    step: Step,
    reason: str,
    settings: Settings,
    *,
    actor: str,
    metrics: Mapping[str, float] | None = None,
) -> list[str]:
    """End a step without a result: its data are free again, its windows scored or failed.

    A window fails for good after ``max_attempts`` runs. Returns those; raises StaleLease.
    """
    found = queries("steps")
    check_step(StepState(step.state), StepState.FAILED, step.id)
    failed = []
    with connection.transaction():
        lock_lineage(connection, lease)
        parameters = {
            "step_id": step.id,
            "fencing_token": lease.fencing_token,
            "state": step.state,
            "error": reason[:2000],
            "metrics": None if metrics is None else Jsonb(_finite(metrics)),
        }
        if not connection.execute(found["fail"], parameters).rowcount:
            raise _gone(step, lease)
        consumption.release(connection, step.id)
        detail = {"reason": reason[:2000], "step": step.target_step, "attempts": step.attempts}
        _record(connection, "step_failed", step, actor, detail)
        for window, attempts in step_windows.of_step(connection, step.windows):
            if step_windows.fail(
                connection,
                window,
                attempts,
                reason,
                settings,
                actor=actor,
                lineage=step.lineage,
                step_id=step.id,
            ):
                failed.append(window)
    return failed


def failed_at(connection: Connection, lineage: str, target_step: int, manifest_hash: str) -> bool:
    """Whether a step to this checkpoint from this manifest is on record as failed."""
    parameters = {"lineage": lineage, "target_step": target_step, "manifest_hash": manifest_hash}
    row = connection.execute(queries("steps")["failed_at_target"], parameters).fetchone()
    return row is not None and bool(row[0])


def of_window(connection: Connection, lineage: str, window: str) -> int | None:
    """The checkpoint that a trained window went into."""
    parameters = {"lineage": lineage, "window": window}
    row = connection.execute(queries("steps")["step_of_window"], parameters).fetchone()
    return None if row is None else int(row[0])


def _record(
    connection: Connection, kind: str, step: Step, actor: str, detail: Mapping[str, Any]
) -> None:
    # One event, not one a window: `why WINDOW` finds it by the step's list of windows.
    events.record(
        connection,
        EventKind(kind),
        actor=actor,
        lineage=step.lineage,
        step_id=step.id,
        detail=detail,
    )


def _gone(step: Step, lease: Lease) -> StaleLease:
    return StaleLease(
        f"step row {step.id} ({step.lineage}@{step.target_step}) is no longer under "
        f"fencing token {lease.fencing_token}; nothing was written, the newer claimant goes on"
    )


def _finite(metrics: Mapping[str, float]) -> dict[str, float | str]:
    # jsonb knows neither NaN nor Infinity, and it is the odd ones that an operator looks for.
    return {
        name: value if abs(value) < float("inf") else str(value) for name, value in metrics.items()
    }
