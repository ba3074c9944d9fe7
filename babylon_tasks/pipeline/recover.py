"""Recover a step that was begun and not ended: ``RECOVERY`` is the complete rule."""

from __future__ import annotations

from enum import StrEnum

import structlog

from babylon_tasks.dataset.manifest import from_row
from babylon_tasks.db import lineages, step_windows, steps
from babylon_tasks.db.session import session
from babylon_tasks.db.steps import Step
from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline import load_groups
from babylon_tasks.pipeline.run_step import StepRefused, StepRun, StepRunner, about
from babylon_tasks.pipeline.start_trainer import find_damaged
from babylon_tasks.states import RESTART, START, TAKE_OVER, StepState
from babylon_tasks.training.protocol import BackendStep

log = structlog.get_logger(__name__)


class BackendFinding(StrEnum):
    """What the backend has, compared with an unfinished step."""

    NOTHING = "nothing"  # it is at the step's base
    ITS_CHECKPOINT = "its checkpoint"  # base + 1, made from the step's manifest
    FOREIGN_CHECKPOINT = (
        "a foreign checkpoint"  # base + 1, made from another manifest, or from an unknown one
    )
    ANOTHER_PLACE = "another place"


class RecoveryAction(StrEnum):
    """What to do about it."""

    RUN_AGAIN = "run again"  # the same groups, up to ``max_attempts``
    ADOPT = "adopt"  # verify it, and commit it
    DISCARD = "discard"  # remove the checkpoint, then act as with nothing found
    FAIL = "fail"
    REFUSE = "refuse"  # database and data directory do not belong together


RECOVERY: dict[tuple[BackendFinding, StepState], RecoveryAction] = {
    (BackendFinding.NOTHING, StepState.PLANNED): RecoveryAction.RUN_AGAIN,
    (BackendFinding.NOTHING, StepState.RUNNING): RecoveryAction.RUN_AGAIN,
    (BackendFinding.NOTHING, StepState.TRAINED): RecoveryAction.FAIL,
    (BackendFinding.ITS_CHECKPOINT, StepState.PLANNED): RecoveryAction.ADOPT,
    (BackendFinding.ITS_CHECKPOINT, StepState.RUNNING): RecoveryAction.ADOPT,
    (BackendFinding.ITS_CHECKPOINT, StepState.TRAINED): RecoveryAction.ADOPT,
    (BackendFinding.FOREIGN_CHECKPOINT, StepState.PLANNED): RecoveryAction.DISCARD,
    (BackendFinding.FOREIGN_CHECKPOINT, StepState.RUNNING): RecoveryAction.DISCARD,
    (BackendFinding.FOREIGN_CHECKPOINT, StepState.TRAINED): RecoveryAction.DISCARD,
    (BackendFinding.ANOTHER_PLACE, StepState.PLANNED): RecoveryAction.REFUSE,
    (BackendFinding.ANOTHER_PLACE, StepState.RUNNING): RecoveryAction.REFUSE,
    (BackendFinding.ANOTHER_PLACE, StepState.TRAINED): RecoveryAction.REFUSE,
}


def compare(step: Step, backend: BackendStep) -> BackendFinding:
    """Compare the backend with the step. PURE."""
    if backend.step == step.base_step:
        return BackendFinding.NOTHING
    if backend.step != step.target_step:
        return BackendFinding.ANOTHER_PLACE
    made = None if backend.result is None else backend.result.manifest_hash
    return (
        BackendFinding.ITS_CHECKPOINT
        if made == step.manifest_hash
        else BackendFinding.FOREIGN_CHECKPOINT
    )


def recover(run: StepRunner, step: Step) -> StepRun:
    """Take over an unfinished step and bring it to a result; raises StaleLease, TrainingError."""
    with session(run.settings) as connection:
        step = steps.advance(
            connection,
            run.lease,
            step,
            TAKE_OVER,
            actor=run.actor,
            detail={"from_token": step.fencing_token},
        )
    about(step)
    backend = run.trainer.backend_step()
    found = compare(step, backend)
    action = RECOVERY[found, step.state]
    log.info(
        "step.taken_over",
        state=step.state,
        attempts=step.attempts,
        found=str(found),
        action=str(action),
    )
    if action is RecoveryAction.DISCARD:
        run.discard(step.target_step, _why_foreign(step, backend), step=step)
        action = RECOVERY[BackendFinding.NOTHING, step.state]
    if action is RecoveryAction.RUN_AGAIN:
        return _run_again(run, step)
    if action is RecoveryAction.ADOPT and backend.result is not None:
        if step.state == StepState.PLANNED:
            with session(run.settings) as connection:
                step = steps.advance(connection, run.lease, step, START, actor=run.actor)
        return StepRun(step, backend.result, adopted=True)
    if action is RecoveryAction.FAIL:
        return StepRun(step, StepRefused("its checkpoint, once verified, is gone from the backend"))
    raise TrainingError(
        f"step {step.target_step} of lineage {step.lineage} is unfinished, but the backend "
        f"is at {backend.step}; the database and BABYLON_DATA_DIR do not belong together, "
        "restore the one that was changed",
        fault=Fault.MISCONFIGURED,
    )


def align(run: StepRunner, head_step: int) -> None:
    """Ensure that the backend is at the head before a new step is planned.

    Raises TrainingError otherwise; the leftover of a failed step is removed.
    """
    backend = run.trainer.backend_step()
    if backend.step == head_step:
        return
    if backend.step == head_step + 1 and backend.result is not None:
        with session(run.settings) as connection:
            failed = steps.failed_at(
                connection, run.lease.lineage, backend.step, backend.result.manifest_hash
            )
        if failed:
            run.discard(backend.step, "left behind by a failed step")
            return
    why = (
        f"lineage {run.lease.lineage} has its head at step {head_step}, but the backend is at "
        f"{backend.step}; the database and BABYLON_DATA_DIR do not belong together: restore the "
        "one that was changed, or choose a new BABYLON_LINEAGE"
    )
    with session(run.settings) as connection:
        lineages.note_trouble(connection, run.lease.lineage, why)
    raise TrainingError(why, fault=Fault.MISCONFIGURED)


def _run_again(run: StepRunner, step: Step) -> StepRun:
    manifest = from_row(step.manifest)
    parent = step.base_step if manifest.parent_step is None else manifest.parent_step
    with session(run.settings) as connection:
        if step.attempts >= run.settings.max_attempts:
            return StepRun(step, StepRefused(f"interrupted {step.attempts} times"))
        # A window's earlier steps count as well.
        rows = step_windows.in_training(connection, step.windows, lineage=step.lineage)
        attempts = max((row.attempts for row in rows), default=0)
        if attempts >= run.settings.max_attempts:
            return StepRun(
                step, StepRefused("interrupted, after earlier steps of its windows failed")
            )
        groups = load_groups.of_manifest(connection, run.settings, manifest)
        committed = tuple(lineages.checkpoints(connection, step.lineage))
    damaged = find_damaged(run.trainer, committed, parent)
    if damaged:
        return StepRun(step, StepRefused(damaged[parent], Fault.FILE_DAMAGED))
    if groups is None:
        return StepRun(
            step, StepRefused("its trajectories have changed or gone since it was planned")
        )
    return run.train(step, groups, RESTART)


def _why_foreign(step: Step, backend: BackendStep) -> str:
    result = backend.result
    made = (
        "no record of how it was made"
        if result is None
        else f"manifest {result.manifest_hash[:12]}"
    )
    return f"the backend's checkpoint has {made}, step needs {step.manifest_hash[:12]}"
