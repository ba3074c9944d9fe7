"""Recover a step that was begun and not ended: ``RECOVERY`` is the complete rule."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NoReturn

import structlog
from msgspec import structs

from babylon_tasks.dataset.manifest import from_row
from babylon_tasks.db import lineages, set_aside, step_windows, steps
from babylon_tasks.db.session import session
from babylon_tasks.db.steps import Step
from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.job_references import ASKED, NOT_ASKED
from babylon_tasks.pipeline import load_groups
from babylon_tasks.pipeline.run_step import (
    StepInterrupted,
    StepRefused,
    StepRun,
    StepRunner,
    about,
)
from babylon_tasks.pipeline.start_trainer import find_damaged
from babylon_tasks.policy_names import policy_name
from babylon_tasks.registry import branches
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
    JOB = "a job at W&B"  # at its base, and W&B was asked for a job
    JOBS_CHECKPOINT = "its job's checkpoint"  # base + 1 at W&B, which keeps no records of ours
    OTHER_JOBS = "other jobs' checkpoints, too"  # more than base + 1 at W&B
    ANOTHER_PLACE = "another place"


class RecoveryAction(StrEnum):
    """What to do about it."""

    RUN_AGAIN = "run again"  # the same groups, up to ``max_attempts``
    ADOPT = "adopt"  # verify it, and commit it
    FOLLOW = "follow"  # the job to its end, for a bounded time
    SET_ASIDE = "set aside"  # the checkpoint, which nobody can verify; then as with nothing found
    FAIL = "fail"
    REFUSE = "refuse"  # database and data directory do not belong together


RECOVERY: dict[tuple[BackendFinding, StepState], RecoveryAction] = {
    (BackendFinding.NOTHING, StepState.PLANNED): RecoveryAction.RUN_AGAIN,
    (BackendFinding.NOTHING, StepState.RUNNING): RecoveryAction.RUN_AGAIN,
    (BackendFinding.NOTHING, StepState.TRAINED): RecoveryAction.FAIL,
    (BackendFinding.ITS_CHECKPOINT, StepState.PLANNED): RecoveryAction.ADOPT,
    (BackendFinding.ITS_CHECKPOINT, StepState.RUNNING): RecoveryAction.ADOPT,
    (BackendFinding.ITS_CHECKPOINT, StepState.TRAINED): RecoveryAction.ADOPT,
    (BackendFinding.FOREIGN_CHECKPOINT, StepState.PLANNED): RecoveryAction.SET_ASIDE,
    (BackendFinding.FOREIGN_CHECKPOINT, StepState.RUNNING): RecoveryAction.SET_ASIDE,
    (BackendFinding.FOREIGN_CHECKPOINT, StepState.TRAINED): RecoveryAction.SET_ASIDE,
    (BackendFinding.JOB, StepState.PLANNED): RecoveryAction.FOLLOW,
    (BackendFinding.JOB, StepState.RUNNING): RecoveryAction.FOLLOW,
    (BackendFinding.JOB, StepState.TRAINED): RecoveryAction.FAIL,
    (BackendFinding.JOBS_CHECKPOINT, StepState.PLANNED): RecoveryAction.FOLLOW,
    (BackendFinding.JOBS_CHECKPOINT, StepState.RUNNING): RecoveryAction.FOLLOW,
    (BackendFinding.JOBS_CHECKPOINT, StepState.TRAINED): RecoveryAction.FOLLOW,
    (BackendFinding.OTHER_JOBS, StepState.PLANNED): RecoveryAction.FAIL,
    (BackendFinding.OTHER_JOBS, StepState.RUNNING): RecoveryAction.FAIL,
    (BackendFinding.OTHER_JOBS, StepState.TRAINED): RecoveryAction.REFUSE,
    (BackendFinding.ANOTHER_PLACE, StepState.PLANNED): RecoveryAction.REFUSE,
    (BackendFinding.ANOTHER_PLACE, StepState.RUNNING): RecoveryAction.REFUSE,
    (BackendFinding.ANOTHER_PLACE, StepState.TRAINED): RecoveryAction.REFUSE,
}


def compare(step: Step, backend: BackendStep) -> BackendFinding:
    """Compare the backend with the step. PURE."""
    if backend.step == step.base_step:
        return BackendFinding.NOTHING if step.job is None else BackendFinding.JOB
    if backend.step > step.target_step and step.job is not None:
        return BackendFinding.OTHER_JOBS
    if backend.step != step.target_step:
        return BackendFinding.ANOTHER_PLACE
    if step.job is not None:
        return BackendFinding.JOBS_CHECKPOINT
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
    if action is RecoveryAction.FOLLOW:
        return _follow(run, step, found)
    if action is RecoveryAction.SET_ASIDE:
        why = _why_foreign(step, backend)
        run.set_aside(step.target_step, why, step=step)
        if run.remote:
            return StepRun(step, StepRefused(why))
        action = RECOVERY[BackendFinding.NOTHING, step.state]
    if action is RecoveryAction.RUN_AGAIN:
        return _run_again(run, step)
    if action is RecoveryAction.ADOPT and backend.result is not None:
        if step.state == StepState.PLANNED:
            with session(run.settings) as connection:
                step = steps.advance(connection, run.lease, step, START, actor=run.actor)
        return StepRun(step, backend.result, adopted=True)
    if action is RecoveryAction.FAIL and found is BackendFinding.OTHER_JOBS:
        with session(run.settings) as connection:
            given_up = steps.failed_after_asking(connection, step.lineage, step.target_step)
        why = f"W&B is at step {backend.step}, expected {step.target_step}: a job that was given up"
        if len(given_up) >= backend.step - step.target_step:
            return StepRun(step, StepRefused(f"{why} has ended, too"))
    elif action is RecoveryAction.FAIL:
        return StepRun(step, StepRefused("its checkpoint, once verified, is gone from the backend"))
    raise TrainingError(
        f"step {step.target_step} of lineage {step.lineage} is unfinished, but the backend "
        f"is at {backend.step}; the database and BABYLON_DATA_DIR do not belong together, "
        "restore the one that was changed",
        fault=Fault.MISCONFIGURED,
    )


def align(run: StepRunner, head_step: int) -> None:
    """Ensure that the backend is at the head before a new step is planned.

    Raises TrainingError otherwise; the leftover of a failed step is set aside.
    """
    backend = run.trainer.backend_step()
    lineage = run.lease.lineage
    if backend.step == head_step:
        if run.remote:  # the next checkpoint gets the number of one that was deleted unnoted
            with session(run.settings) as connection:
                set_aside.note_gone(connection, lineage, after=head_step)
        return
    if run.remote:
        _wait_for_deletion(run, range(head_step + 1, backend.step + 1))
    elif backend.step == head_step + 1 and backend.result is not None:
        made_from = backend.result.manifest_hash
        with session(run.settings) as connection:
            failed = steps.failed_at(connection, lineage, backend.step, made_from)
        if failed:
            run.set_aside(backend.step, "left behind by a failed step")
            return
    _refuse(
        run,
        f"lineage {lineage} has its head at step {head_step}, but the backend is at "
        f"{backend.step}; the database and BABYLON_DATA_DIR do not belong together: restore the "
        "one that was changed, or choose a new BABYLON_LINEAGE",
    )


def _wait_for_deletion(run: StepRunner, beyond: Sequence[int]) -> None:
    """Set aside what W&B has beyond the head, as far as failed steps have asked for so many jobs.

    Raises TrainingError where anything there is set aside: W&B would train on from it.
    """
    lineage = run.lease.lineage
    with session(run.settings) as connection:
        jobs = steps.failed_after_asking(connection, lineage, min(beyond, default=0))
    if len(jobs) >= len(beyond):
        for number, job in zip(beyond, reversed(jobs[: len(beyond)]), strict=True):
            run.set_aside(number, f"W&B ended job {job} after its step had failed")
    with session(run.settings) as connection:
        aside = [one for one in set_aside.kept(connection, lineage) if one.step in beyond]
    if aside:
        numbers = ", ".join(str(one.step) for one in sorted(aside, key=lambda one: one.step))
        which = (
            f"checkpoint {numbers} at W&B is"
            if len(aside) == 1
            else (f"checkpoints {numbers} at W&B are")
        )
        _refuse(
            run,
            f"{which} set aside ({aside[0].why}): W&B would train on from there, so no step is "
            "planned before `babylon-tasks prune --set-aside`",
        )


def _refuse(run: StepRunner, why: str) -> NoReturn:
    with session(run.settings) as connection:
        lineages.note_trouble(connection, run.lease.lineage, why)
    raise TrainingError(why, fault=Fault.MISCONFIGURED)


def _follow(run: StepRunner, step: Step, found: BackendFinding) -> StepRun:
    """Follow the step's job, which is paid for, until it is older than the settings allow.

    One that has ended by then is followed once more; what cannot be measured is done without.
    """
    ended = found is BackendFinding.JOBS_CHECKPOINT
    patience = run.settings.wandb_job_seconds
    late = (step.asked_seconds or 0.0) > patience
    if step.job == ASKED and not ended:
        if not late:
            why = "W&B was asked for a job and its answer was lost: it may be running"
            return StepRun(step, StepInterrupted(why))
        with session(run.settings) as connection:
            steps.note_job(connection, run.lease, step, NOT_ASKED)
        return _run_again(run, structs.replace(step, job=None))
    if late and not ended:
        why = f"W&B's job {step.job} has not ended within {patience:.0f} s"
        return StepRun(step, StepRefused(f"{why} (BABYLON_WANDB_JOB_SECONDS)"))
    if late and step.attempts > run.settings.max_attempts:
        return StepRun(step, StepRefused(f"interrupted {step.attempts} times"))
    with session(run.settings) as connection:
        groups = load_groups.of_manifest(connection, run.settings, from_row(step.manifest))
    return run.follow(step, groups or (), overdue=late)


def _run_again(run: StepRunner, step: Step) -> StepRun:
    manifest = from_row(step.manifest)
    parent = step.base_step if manifest.parent_step is None else manifest.parent_step
    # Planning has counted the first run: one that never began is no other.
    transition = START if step.state == StepState.PLANNED else RESTART
    with session(run.settings) as connection:
        if transition is RESTART and step.attempts >= run.settings.max_attempts:
            return StepRun(step, StepRefused(f"interrupted {step.attempts} times"))
        # A window's earlier steps count as well.
        rows = step_windows.in_training(connection, step.windows, lineage=step.lineage)
        attempts = max((row.attempts for row in rows), default=0)
        if transition is RESTART and attempts >= run.settings.max_attempts:
            return StepRun(
                step, StepRefused("interrupted, after earlier steps of its windows failed")
            )
        groups = load_groups.of_manifest(connection, run.settings, manifest)
        committed = tuple(lineages.checkpoints(connection, step.lineage))
        dead = branches.is_dead(connection, step.lineage, parent)
    damaged = find_damaged(run.trainer, committed, parent)
    if damaged:
        return StepRun(step, StepRefused(damaged[parent], Fault.FILE_DAMAGED))
    if dead:
        why = (
            f"{policy_name(step.lineage, parent)}, from which it starts, was rolled back meanwhile"
        )
        return StepRun(step, StepRefused(why, Fault.INTERRUPTED))
    if groups is None:
        return StepRun(
            step, StepRefused("its trajectories have changed or gone since it was planned")
        )
    return run.train(step, groups, transition)


def _why_foreign(step: Step, backend: BackendStep) -> str:
    result = backend.result
    made = (
        "no record of how it was made"
        if result is None
        else f"manifest {result.manifest_hash[:12]}"
    )
    return f"the backend's checkpoint has {made}, step needs {step.manifest_hash[:12]}"
