"""Training steps: planned with their claim on the data, run, failed; see ``commits`` for the end.

Every function that writes takes the lease and works under its lock: a superseded claimant
meets Fenced and has changed nothing. Call them inside ``with connection.transaction():`` where
several belong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from babylon_tasks.db import events, windows
from babylon_tasks.db.lineages import Lease, hold
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.errors import DatabaseError, Fenced, IllegalTransition
from babylon_tasks.records import Rejection
from babylon_tasks.settings import Settings
from babylon_tasks.states import StepState, WindowState, check_step, check_window


class Step(Struct, frozen=True):
    """A step's row; ``due``: no wait for its next attempt is left."""

    id: int
    lineage: str
    base_step: int
    target_step: int
    state: str
    attempt: int
    tries: int
    windows: list[str]
    manifest_hash: str
    manifest: dict[str, Any]
    job_reference: str | None
    due: bool


class Use(Struct, frozen=True):
    """A trajectory that is used up: ``use`` is trained, no_spread or too_small."""

    trajectory_id: str
    reward_version: int
    window_id: str
    use: str


class Result(Struct, frozen=True):
    """What a verified run did, as it is stored."""

    gradient_steps: int
    trainable_tokens: int
    adapter_hash: str | None
    uri: str
    inference_name: str
    metrics: dict[str, float]
    job_reference: str | None


def unfinished(connection: Connection, lineage: str) -> Step | None:
    """The step that was begun and not ended, if there is one."""
    with connection.cursor(row_factory=class_row(Step)) as cursor:
        return cursor.execute(queries("steps")["unfinished"], {"lineage": lineage}).fetchone()


def plan(
    connection: Connection,
    lease: Lease,
    *,
    backend: str,
    windows: Sequence[str],
    manifest: bytes,
    manifest_hash: str,
    uses: Sequence[Use],
    actor: str,
) -> Step:
    """Write a step from the head, its windows and all it consumes, in one transaction.

    Raises Fenced, IllegalTransition where a window is no longer scored, DatabaseError where a
    trajectory has been used before.
    """
    check_window(WindowState.SCORED, WindowState.TRAINING, windows[0])
    found = queries("steps")
    with connection.transaction():
        head, _ = hold(connection, lease)
        with connection.cursor(row_factory=class_row(Step)) as cursor:
            step = cursor.execute(
                found["plan"],
                {
                    "lineage": lease.lineage,
                    "base_step": head,
                    "attempt": lease.attempt,
                    "backend": backend,
                    "windows": list(windows),
                    "manifest_hash": manifest_hash,
                    "manifest": Jsonb(msgspec.json.decode(manifest)),
                },
            ).fetchone()
        assert step is not None  # noqa: S101  # INSERT ... RETURNING without a conflict clause
        for window in windows:
            if not connection.execute(found["take_window"], {"window": window}).rowcount:
                raise IllegalTransition(
                    f"window {window} was to join step {step.target_step} but is no longer scored; "
                    f"see `babylon-tasks why {window}`"
                )
        consume(connection, lease, uses, step_id=step.id)
        detail = {
            "step": step.target_step,
            "windows": list(windows),
            "trajectories": len(uses),
            "manifest": manifest_hash,
            "attempt": lease.attempt,
        }
        _record(connection, "step_planned", step, actor, detail)
    return step


def consume(
    connection: Connection, lease: Lease, uses: Sequence[Use], *, step_id: int | None
) -> None:
    """Mark trajectories as used, once for ever; raises DatabaseError for a second time."""
    if not uses:
        return
    parameters = {
        "lineage": lease.lineage,
        "step_id": step_id,
        "ids": [use.trajectory_id for use in uses],
        "versions": [use.reward_version for use in uses],
        "windows": [use.window_id for use in uses],
        "uses": [use.use for use in uses],
    }
    try:
        connection.execute(queries("steps")["consume"], parameters)
    except UniqueViolation as error:
        raise DatabaseError(
            f"lineage {lease.lineage} has already used a trajectory that is to be used now "
            f"({error.diag.message_detail}); nothing was planned, see `babylon-tasks why` for it"
        ) from error


def reject(
    connection: Connection, window: str, reward_version: int, rejections: Iterable[Rejection]
) -> None:
    """Write why trajectories are left out; what is there already stays as it is."""
    rows = [
        {
            "trajectory_id": rejection.trajectory_id,
            "window_id": window,
            "reward_version": reward_version,
            "stage": rejection.stage,
            "reason": rejection.reason,
            "detail": rejection.detail,
        }
        for rejection in rejections
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(queries("steps")["reject"], rows)


def take_over(connection: Connection, lease: Lease, step: Step, *, actor: str) -> Step:
    """Put an unfinished step under the new attempt; raises Fenced."""
    with connection.transaction():
        hold(connection, lease)
        parameters = {"step_id": step.id, "attempt": lease.attempt}
        if not connection.execute(queries("steps")["adopt"], parameters).rowcount:
            raise _gone(step, lease)
        detail = {"from_attempt": step.attempt, "attempt": lease.attempt, "tries": step.tries}
        _record(connection, "step_taken_over", step, actor, detail)
    return msgspec.structs.replace(step, attempt=lease.attempt)


def start(connection: Connection, lease: Lease, step: Step, *, again: bool, actor: str) -> None:
    """The run begins; ``again``: it is not the first of this step."""
    found = queries("steps")
    parameters = {"step_id": step.id, "attempt": lease.attempt}
    with connection.transaction():
        hold(connection, lease)
        if again:
            if not connection.execute(found["try_again"], parameters).rowcount:
                raise _gone(step, lease)
            connection.execute(found["count_try"], {"windows": step.windows, "by": 1})
        if step.state == StepState.PLANNED:
            check_step(StepState.PLANNED, StepState.RUNNING, step.id)
            if not connection.execute(found["start"], parameters).rowcount:
                raise _gone(step, lease)
        detail = {"tries": step.tries + again, "attempt": lease.attempt}
        _record(connection, "step_running", step, actor, detail)


def progress(
    connection: Connection,
    lease: Lease,
    step: Step,
    state: Mapping[str, Any],
    job_reference: str | None,
) -> None:
    """How far the run has come; without a lock: it is overwritten in a moment."""
    parameters = {
        "step_id": step.id,
        "attempt": lease.attempt,
        "progress": Jsonb(dict(state)),
        "job_reference": job_reference,
    }
    connection.execute(queries("steps")["progress"], parameters)


def postpone(
    connection: Connection, lease: Lease, step: Step, error: str, *, delay: float, actor: str
) -> None:
    """The run broke off: leave the step to its next attempt, ``delay`` seconds from now."""
    parameters = {
        "step_id": step.id,
        "attempt": lease.attempt,
        "error": error[:2000],
        "delay": delay,
    }
    with connection.transaction():
        hold(connection, lease)
        connection.execute(queries("steps")["postpone"], parameters)
        detail = {"error": error[:2000], "tries": step.tries, "again_in_seconds": delay}
        _record(connection, "step_broke_off", step, actor, detail)


def interrupt(connection: Connection, lease: Lease, step: Step, why: str, *, actor: str) -> None:
    """The run was stopped from outside: the step waits, and the try is not held against it."""
    found = queries("steps")
    with connection.transaction():
        hold(connection, lease)
        parameters = {"step_id": step.id, "attempt": lease.attempt, "error": why}
        if connection.execute(found["give_back_try"], parameters).rowcount:
            connection.execute(found["count_try"], {"windows": step.windows, "by": -1})
        _record(connection, "step_interrupted", step, actor, {"why": why})


def trained(
    connection: Connection, lease: Lease, step: Step, result: Result, *, actor: str
) -> None:
    """The verified word of the backend; raises Fenced."""
    check_step(StepState.RUNNING, StepState.TRAINED, step.id)
    parameters = {
        "step_id": step.id,
        "attempt": lease.attempt,
        "metrics": Jsonb(result.metrics),
        "gradient_steps": result.gradient_steps,
        "trainable_tokens": result.trainable_tokens,
        "adapter_hash": result.adapter_hash,
        "job_reference": result.job_reference,
    }
    with connection.transaction():
        hold(connection, lease)
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

    A window fails for good after ``max_attempts`` runs. Returns those; raises Fenced.
    """
    found = queries("steps")
    check_step(StepState(step.state), StepState.FAILED, step.id)
    failed = []
    with connection.transaction():
        hold(connection, lease)
        parameters = {
            "step_id": step.id,
            "attempt": lease.attempt,
            "state": step.state,
            "error": reason[:2000],
            "metrics": None if metrics is None else Jsonb(_finite(metrics)),
        }
        if not connection.execute(found["fail"], parameters).rowcount:
            raise _gone(step, lease)
        connection.execute(found["release_data"], {"step_id": step.id})
        detail = {"reason": reason[:2000], "step": step.target_step, "tries": step.tries}
        _record(connection, "step_failed", step, actor, detail)
        rows = connection.execute(found["windows_of"], {"windows": step.windows}).fetchall()
        for window, tries in rows:
            spent = tries >= settings.max_attempts
            if spent:
                failed.append(window)
            windows.move(
                connection,
                window,
                WindowState.TRAINING,
                WindowState.FAILED if spent else WindowState.SCORED,
                actor=actor,
                kind="failed" if spent else "training_failed",
                reason=f"training failed {tries} times, last: {reason[:1000]}" if spent else None,
                delay=None if spent else settings.retry_delay_seconds,
                lineage=step.lineage,
                step_id=step.id,
            )
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
        connection, kind, actor=actor, lineage=step.lineage, step_id=step.id, detail=detail
    )


def _gone(step: Step, lease: Lease) -> Fenced:
    return Fenced(
        f"step row {step.id} ({step.lineage}@{step.target_step}) is no longer attempt "
        f"{lease.attempt}'s to change; nothing was written, the newer claimant goes on"
    )


def _finite(metrics: Mapping[str, float]) -> dict[str, float | str]:
    # jsonb knows neither NaN nor Infinity, and it is the odd ones that an operator looks for.
    return {
        name: value if abs(value) < float("inf") else str(value) for name, value in metrics.items()
    }
