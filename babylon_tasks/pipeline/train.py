"""One training step per window, exactly once: the life of a step, from claim to commit.

Messages may be lost or repeated: rows decide what happens, under the lineage's lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from statistics import fmean

import structlog
from msgspec import structs
from structlog.contextvars import bind_contextvars

from babylon_tasks import metrics, tracing
from babylon_tasks.actions import TrainAction
from babylon_tasks.dataset.manifest import from_row
from babylon_tasks.db import due_windows, lineages, steps
from babylon_tasks.db.commit_step import commit_step
from babylon_tasks.db.fail_step import RefusedGroup, fail_step
from babylon_tasks.db.lease_heartbeat import claim_lineage
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.steps import ERROR_LENGTH, Step
from babylon_tasks.errors import AnotherTrainer, TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline.dead_branches import discard_dead_branches, end_dead_branches
from babylon_tasks.pipeline.log_steps import log_steps
from babylon_tasks.pipeline.nothing_to_train import known_without_lease, nothing_planned
from babylon_tasks.pipeline.patient_write import write_patiently
from babylon_tasks.pipeline.plan_step import Planner
from babylon_tasks.pipeline.recover import align, recover
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.run_step import StepInterrupted, StepRefused, StepRun, StepRunner
from babylon_tasks.pipeline.start_trainer import start_trainer
from babylon_tasks.pipeline.too_large import gives_way, refused
from babylon_tasks.pipeline.verify_step import is_worthless, verify
from babylon_tasks.registry import budget
from babylon_tasks.settings import Settings
from babylon_tasks.states import POSTPONE, POSTPONE_FREE, START, VERIFY, StepState
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.protocol import RequestProgress
from babylon_tasks.training.step_numbers import numbered
from babylon_tasks.training.trainer_start import TrainerReady

log = structlog.get_logger(__name__)


def train_window(
    settings: Settings,
    trainer: TrainerLike,
    *,
    window: str | None,
    actor: str,
    on_progress: Callable[[RequestProgress], None] | None = None,
    on_begin: Callable[[], None] = lambda: None,
) -> TrainOutcome:
    """Train the given window, or the oldest due ones; where a step is unfinished, that one instead.

    ``on_begin``: called once it is known which step is run, and bound to what is logged.
    Raises WindowNotFound, StaleLease, DatabaseError, and TrainingError if no step could begin.
    """
    began = time.monotonic()
    with session(settings) as connection:
        leased = lineages.ensure(connection, settings).leased
        budget.note(connection, settings, actor=actor)
        answer = known_without_lease(connection, settings, window)
    if answer is not None:
        return answer
    why = f"another worker trains lineage {settings.lineage}"
    busy = TrainOutcome(TrainAction.BUSY, reason=why)
    if leased:
        return busy  # no trainer is started for nothing
    trainer = numbered(settings, trainer)
    try:
        ready = start_trainer(settings, trainer, actor=actor)
    except AnotherTrainer as other:
        return TrainOutcome(TrainAction.BUSY, reason=str(other))
    with claim_lineage(settings, on_lost=trainer.kill) as heartbeat:
        if heartbeat is None:
            return busy
        lease = heartbeat.lease
        bind_contextvars(lineage=lease.lineage, fencing_token=lease.fencing_token)
        run = StepRunner(settings, trainer, heartbeat, actor, on_progress, on_begin)
        outcome = _train(run, ready, window)
        log_steps(settings, trainer)
    seconds = time.monotonic() - began
    tracing.record(
        tracing.Span.STEP,
        outcome.windows,
        began=datetime.now(UTC) - timedelta(seconds=seconds),
        error=outcome.reason if outcome.action is TrainAction.FAILED else None,
        lineage=settings.lineage,
        step=outcome.step,
        action=outcome.action,
    )
    log.info(
        "training.ended", action=outcome.action, reason=outcome.reason, seconds=round(seconds, 3)
    )
    return structs.replace(outcome, seconds=seconds)


def more_waits(settings: Settings) -> bool:
    """Check whether a scored window is due now for a training step."""
    with session(settings) as connection:
        return bool(due_windows.scored(connection, 1, lineage=settings.lineage))


def _train(run: StepRunner, ready: TrainerReady, window: str | None) -> TrainOutcome:
    with session(run.settings) as connection:
        lineages.note_trainer(
            connection,
            run.lease,
            backend=ready.backend,
            base_url=ready.base_url,
            inference_name=ready.inference_name,
        )
        step = steps.unfinished(connection, run.lease.lineage)
    head = run.lease.head_step
    if step is not None:
        if not step.due:
            reason = f"step {step.target_step} was interrupted and waits for its next attempt"
            return TrainOutcome(TrainAction.BUSY, step.windows, step.target_step, reason)
        if not ready.branches:  # a command has planned it, from what serves
            discard_dead_branches(run)
        # The next one waits: what serves, its parent, is decided about this one's checkpoint first.
        return _end(run, recover(run, step))
    run.heartbeat.check()
    align(run, head)
    left = end_dead_branches(run.settings, run.lease, can_branch=ready.branches, actor=run.actor)
    if left.waits is not None:
        return TrainOutcome(TrainAction.IDLE, reason=left.waits)
    if not ready.branches:
        discard_dead_branches(run)
    with session(run.settings) as connection:
        planned = _planner(run, connection, ready, head, left.serving).plan(window)
    if planned.step is None:
        return nothing_planned(planned.skipped)
    return _end(run, run.train(planned.step, planned.groups, START))


def _end(run: StepRunner, ran: StepRun) -> TrainOutcome:
    """Commit, fail or postpone a step according to its run."""
    step = ran.step
    match ran.result:
        case StepResult() as result:
            problem = verify(
                step.base_step,
                result,
                step.manifest_hash,
                max_mismatch_kl=run.settings.max_mismatch_kl or None,
            )
            if problem is None:
                return _commit(run, step, result, adopted=ran.adopted)
            not_finite = {name: float(value) for name, value in result.not_finite.items()}
            return _fail(
                run,
                step,
                f"not verified: {problem}",
                result.metrics | not_finite,
                worthless=is_worthless(result),
            )
        case StepRefused(why, fault):
            return _fail(run, step, why, fault=fault)
        case StepInterrupted(why, fault) as broken:
            too_large = gives_way(run, step, broken)
            if too_large is None:
                return _postpone(run, step, why, fault)
            return _fail(run, step, too_large, fault=fault, refuses=refused(run, step, too_large))


def _commit(run: StepRunner, step: Step, result: StepResult, *, adopted: bool) -> TrainOutcome:
    manifest = from_row(step.manifest)
    rewards = [(entry.trajectory_id, entry.reward) for _, entry in manifest.entries]
    with session(run.settings) as connection:
        if step.state == StepState.RUNNING:
            step = steps.advance(
                connection,
                run.lease,
                step,
                VERIFY,
                actor=run.actor,
                columns=structs.asdict(result),
                detail={
                    "gradient_steps": result.gradient_steps,
                    "trainable_tokens": result.trainable_tokens,
                    "adapter_hash": result.adapter_hash,
                },
            )
        commit_step(
            connection,
            run.lease,
            step,
            result,
            base_model=manifest.base_model,
            rewards=rewards,
            actor=run.actor,
        )
    metrics.GRADIENT_STEPS.labels(step.lineage).inc(result.gradient_steps)
    metrics.TRAINED_TOKENS.labels(step.lineage).inc(result.trainable_tokens)
    metrics.STEPS.labels(step.lineage, "committed").inc()
    return TrainOutcome(
        TrainAction.ADOPTED if adopted else TrainAction.COMMITTED,
        step.windows,
        step.target_step,
        result=result,
        reward_mean=None if manifest.supervised else fmean(reward for _, reward in rewards),
    )


def _fail(
    run: StepRunner,
    step: Step,
    reason: str,
    measured: Mapping[str, float] | None = None,
    *,
    fault: Fault = Fault.WINDOW,
    worthless: bool = False,
    refuses: RefusedGroup | None = None,
) -> TrainOutcome:
    # In this order, so that after a crash in between the next claimant can still recover the step.
    try:
        if run.trainer.backend_step().step == step.target_step:
            put_away = run.discard if worthless else run.set_aside
            put_away(step.target_step, reason, step=step)
    except TrainingError as error:
        if error.fault.uses_up_attempts or step.state != StepState.RUNNING:
            raise
        return _postpone(run, step, f"{reason}; then: {error}", error.fault)
    with session(run.settings) as connection:
        fail_step(
            connection,
            run.lease,
            step,
            reason,
            run.settings,
            actor=run.actor,
            metrics=measured,
            fault=fault,
            refused=refuses,
        )
    metrics.STEPS.labels(step.lineage, "failed").inc()
    for rejection in refuses.rejections if refuses is not None else ():
        metrics.TRAJECTORIES_REJECTED.labels(rejection.reason).inc()
    return TrainOutcome(TrainAction.FAILED, step.windows, step.target_step, reason, fault=fault)


def _postpone(run: StepRunner, step: Step, why: str, fault: Fault) -> TrainOutcome:
    error, delay = why[:ERROR_LENGTH], run.settings.retry_delay_seconds

    def postpone(connection: Connection) -> None:
        steps.advance(
            connection,
            run.lease,
            step,
            POSTPONE if fault.uses_up_attempts else POSTPONE_FREE,
            actor=run.actor,
            columns={"error": error, "delay": delay},
            detail={"error": error, "fault": fault, "again_in_seconds": delay},
        )

    write_patiently(run.settings, postpone, patient=not fault.uses_up_attempts)
    metrics.STEPS.labels(step.lineage, "interrupted").inc()
    return TrainOutcome(TrainAction.FAILED, step.windows, step.target_step, why, fault=fault)


def _planner(
    run: StepRunner, connection: Connection, ready: TrainerReady, head: int, serving: int
) -> Planner:
    return Planner(
        connection,
        run.settings,
        structs.replace(run.lease, serving_step=serving),
        backend=ready.backend,
        head_step=head,
        inspect=run.inspect,
        values=run.values,
        actor=run.actor,
    )
