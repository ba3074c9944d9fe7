"""Training steps: planned with their claim on the data, and moved from state to state.

``advance`` makes every change but the first and works under the lineage's lock: a superseded
claimant gets StaleLease and has changed nothing. ``commit_step`` and ``fail_step`` do what else a
step's end requires.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, structs
from psycopg.types.json import Jsonb

from babylon_tasks.db import consumption, events, kept_members, step_windows, tripwires
from babylon_tasks.db.consumption import Use
from babylon_tasks.db.lineages import Lease, lock_lineage
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_one, fetch_pairs, fetch_value, fetch_values
from babylon_tasks.db.tripwires import FoundTrips
from babylon_tasks.errors import StaleLease, TrainingError
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.faults import Fault
from babylon_tasks.policy_names import policy_name
from babylon_tasks.records import PackedMember
from babylon_tasks.states import StepMethod, StepState, StepTransition, check_step

# The longest error that a row stores, in characters.
ERROR_LENGTH = 2000


class _PlanAgain(Exception):
    """What was planned from is no longer so: write nothing."""


class Step(Struct, frozen=True):
    """A step's row; ``due``: its next attempt need not wait any longer.

    ``job``: its job at W&B (``job_references.py``), ``asked_seconds`` since W&B was asked for it.
    """

    id: int
    lineage: str
    base_step: int
    target_step: int
    state: StepState
    fencing_token: int
    attempts: int
    windows: list[str]
    manifest_hash: str
    manifest: dict[str, Any]
    started_at: datetime | None
    due: bool
    job: str | None = None
    asked_seconds: float | None = None
    method: StepMethod = StepMethod.GRPO


class _Advanced(Struct, frozen=True):
    state: StepState
    fencing_token: int
    attempts: int
    started_at: datetime | None


def unfinished(connection: Connection, lineage: str) -> Step | None:
    """Find the step that has begun and not ended, if there is one."""
    return fetch_one(connection, "steps.unfinished", Step, lineage=lineage)


def committed(connection: Connection, lineage: str, target_step: int) -> Step | None:
    """Find the step that made a checkpoint."""
    return fetch_one(connection, "steps.committed", Step, lineage=lineage, target_step=target_step)


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
    members: Iterable[PackedMember] | None = None,
    method: StepMethod = StepMethod.GRPO,
    noted: Mapping[str, Any] | None = None,
    found: Sequence[FoundTrips] = (),
) -> Step | None:
    """Write a step from the head, its windows and all it consumes, in one transaction.

    A supervised step may take windows that are skipped. ``members`` are kept, so that the step can
    be replayed; ``noted`` is for its event, ``found`` what tripped. ``windows`` maps each to the
    reward version that was planned from; returns None, with nothing written, if one of them has
    changed, or the hour that a trajectory began in was pruned. Raises StaleLease, DatabaseError if
    a trajectory has been used before, TrainingError if the parent was pruned meanwhile.
    """
    with suppress(_PlanAgain), connection.transaction():
        head = lock_lineage(connection, lease).head_step
        supervised = method is StepMethod.SUPERVISED
        lock = step_windows.lock_rewarded if supervised else step_windows.lock_scored
        if not lock(connection, windows, lineage=lease.lineage):
            return None
        step = fetch_one(
            connection,
            "steps.plan",
            Step,
            lineage=lease.lineage,
            base_step=head,
            fencing_token=lease.fencing_token,
            backend=backend,
            windows=list(windows),
            manifest_hash=manifest_hash,
            manifest=Jsonb(msgspec.json.decode(manifest)),
            method=method,
        )
        assert step is not None  # noqa: S101  # INSERT ... RETURNING without a conflict clause
        if fetch_value(connection, "steps.starts_from_lost", bool, step_id=step.id):
            raise TrainingError(
                f"{policy_name(lease.lineage, head + 1)} was to start from a checkpoint that was "
                "pruned or rolled back meanwhile; nothing was planned, the next attempt uses the "
                "serving one",
                fault=Fault.INTERRUPTED,
            )
        for window in windows:
            if supervised:
                step_windows.reopen(connection, window, lineage=lease.lineage, actor=actor)
            step_windows.take(connection, window, lineage=lease.lineage, actor=actor)
        consumption.consume(connection, lease, uses, step_id=step.id)
        if members is not None:
            kept_members.keep(connection, step.id, members)
        tripwires.keep(
            connection,
            lease.lineage,
            found,
            target_step=step.target_step,
            step_id=step.id,
            actor=actor,
        )
        # After that: where a use is being deleted, the insertion has waited for it.
        if consumption.began_in_pruned(connection, [use.trajectory_id for use in uses]):
            raise _PlanAgain
        detail = {
            "step": step.target_step,
            "windows": list(windows),
            "trajectories": len(uses),
            "manifest": manifest_hash,
            "fencing_token": lease.fencing_token,
            **({"method": method} if supervised else {}),
            **(noted or {}),
        }
        _record(connection, EventKind.STEP_PLANNED, step, actor, detail)
        return step
    return None


def advance(
    connection: Connection,
    lease: Lease,
    step: Step,
    transition: StepTransition,
    *,
    actor: str,
    columns: Mapping[str, Any] | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Step:
    """Change a step: lock its lineage, compare and set, count, record; returns it as it is now.

    All or nothing, alone or in the caller's transaction. ``columns`` are the parameters of the
    transition's statement, ``detail`` is for its event. Raises IllegalTransition where the table
    does not allow the change, StaleLease where a newer claimant has the lineage or the step.
    """
    check_step(step.state, transition, step.id)
    given = {
        name: Jsonb(value) if isinstance(value, dict) else value
        for name, value in (columns or {}).items()
    }
    parameters = given | {
        "step_id": step.id,
        "fencing_token": lease.fencing_token,
        "source": step.state,
        "target": transition.target or step.state,
        "attempts": transition.attempts,
    }
    with connection.transaction():
        lock_lineage(connection, lease)
        moved = fetch_one(connection, f"steps.{transition.name}", _Advanced, **parameters)
        if moved is None:
            raise StaleLease(
                f"step row {step.id} ({policy_name(step.lineage, step.target_step)}) is no longer "
                f"{step.state} under fencing token {lease.fencing_token}; nothing was written, "
                "the current claimant continues it"
            )
        if transition.attempts:
            step_windows.count_attempts(
                connection, step.windows, transition.attempts, lineage=step.lineage
            )
        noted = {"attempts": moved.attempts, "fencing_token": moved.fencing_token}
        _record(connection, transition.event, step, actor, {**(detail or {}), **noted})
    return structs.replace(step, **structs.asdict(moved))


def progress(connection: Connection, lease: Lease, step: Step, state: Mapping[str, Any]) -> None:
    """Store the progress of a run, without a lock: it is overwritten in a moment."""
    execute(
        connection,
        "steps.progress",
        step_id=step.id,
        fencing_token=lease.fencing_token,
        progress=Jsonb(dict(state)),
    )


def note_job(connection: Connection, lease: Lease, step: Step, job: str) -> None:
    """Store the reference of the step's job at W&B, before it is waited for; raises StaleLease."""
    stored = execute(
        connection,
        "steps.note_job",
        step_id=step.id,
        fencing_token=lease.fencing_token,
        job=job or None,
    )
    if not stored:
        raise StaleLease(
            f"the reference of the W&B job of {policy_name(step.lineage, step.target_step)} was "
            f"not stored: step row {step.id} is no longer run under fencing token "
            f"{lease.fencing_token}; the current claimant asks W&B what became of it"
        )


def committed_after(
    connection: Connection, lineage: str, step: int, *, limit: int
) -> dict[int, dict[str, Any]]:
    """Map the first committed steps after a checkpoint, in order, to what was measured in them."""
    return fetch_pairs(
        connection,
        "steps.committed_after",
        int,
        dict[str, Any],
        lineage=lineage,
        after=step,
        limit=limit,
    )


def failed_after_asking(connection: Connection, lineage: str, target_step: int) -> list[str]:
    """List the jobs of failed steps to this checkpoint, which W&B may have ended since."""
    return fetch_values(
        connection, "steps.failed_after_asking", str, lineage=lineage, target_step=target_step
    )


def failed_at(connection: Connection, lineage: str, target_step: int, manifest_hash: str) -> bool:
    """Check whether a step to this checkpoint from this manifest has failed before."""
    found = fetch_value(
        connection,
        "steps.failed_at_target",
        bool,
        lineage=lineage,
        target_step=target_step,
        manifest_hash=manifest_hash,
    )
    return bool(found)


def of_window(connection: Connection, lineage: str, window: str) -> int | None:
    """Find the checkpoint that a window was trained into."""
    return fetch_value(connection, "steps.step_of_window", int, lineage=lineage, window=window)


def _record(
    connection: Connection, kind: EventKind, step: Step, actor: str, detail: Mapping[str, Any]
) -> None:
    # One event, not one per window: `why WINDOW` finds it by the step's list of windows.
    events.record(
        connection, kind, actor=actor, lineage=step.lineage, step_id=step.id, detail=detail
    )
