"""End a training step without a result, and release its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from babylon_tasks.db import consumption, kept_members, out_of_memory, step_windows, steps
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.db.steps import ERROR_LENGTH, Step
from babylon_tasks.faults import Fault
from babylon_tasks.records import Rejection
from babylon_tasks.settings import Settings
from babylon_tasks.states import FAIL


class RefusedGroup(Struct, frozen=True):
    """Trajectories of one window that no step of the lineage is to take any more."""

    window: str
    reward_version: int
    rejections: Sequence[Rejection]


def fail_step(
    connection: Connection,
    lease: Lease,
    step: Step,
    reason: str,
    settings: Settings,
    *,
    actor: str,
    metrics: Mapping[str, float] | None = None,
    fault: Fault = Fault.WINDOW,
    refused: RefusedGroup | None = None,
) -> Step:
    """Fail a step and release its data; a window fails with it after ``max_attempts`` runs.

    The last run counts only if the fault was the windows' own. What did not fit into memory waits
    for so long that other windows are tried before it.

    All or nothing; raises StaleLease, and IllegalTransition where the step has ended.
    """
    error = reason[:ERROR_LENGTH]
    with connection.transaction():
        failed = steps.advance(
            connection,
            lease,
            step,
            FAIL,
            actor=actor,
            columns={"error": error, "metrics": None if metrics is None else _finite(metrics)},
            detail={"reason": error, "fault": fault, "step": step.target_step},
        )
        consumption.release(connection, step.id)
        if refused is not None:
            consumption.reject(
                connection, lease, refused.window, refused.reward_version, refused.rejections
            )
        kept_members.forget(connection, step.id)
        if not fault.uses_up_attempts:
            step_windows.count_attempts(connection, step.windows, -1, lineage=step.lineage)
        for row in step_windows.in_training(connection, step.windows, lineage=step.lineage):
            step_windows.free(
                connection,
                row,
                reason,
                settings,
                lineage=step.lineage,
                step_id=step.id,
                actor=actor,
                delay=_delay(fault, settings),
            )
    return failed


def _delay(fault: Fault, settings: Settings) -> float:
    short = fault.may_be_memory
    return out_of_memory.wait_seconds(settings) if short else settings.retry_delay_seconds


def _finite(metrics: Mapping[str, float]) -> dict[str, float | str]:
    # jsonb has neither NaN nor Infinity, and an operator looks for exactly these.
    return {
        name: value if abs(value) < float("inf") else str(value) for name, value in metrics.items()
    }
