"""Exactly one training step for each window: claim, run, verify, commit; or recover one.

Messages may be lost or come twice: what happens is decided by rows, under the lineage's lease.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable

import structlog
from msgspec import Struct, structs
from structlog.contextvars import bind_contextvars

from babylon_tasks.db import lineages, steps, windows
from babylon_tasks.db.lease_heartbeat import LeaseHeartbeat
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import DatabaseError
from babylon_tasks.pipeline.plan import Planner
from babylon_tasks.pipeline.recover import align, recover
from babylon_tasks.pipeline.run import Ended, Run
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.protocol import Progress

log = structlog.get_logger()


class TrainOutcome(Struct, frozen=True):
    """What a call came to.

    ``action``: committed, adopted (another's finished run was committed), skipped (nothing to
    train on in the window, or it is not at that point), busy (another holds the lineage, or a
    interrupted step waits), idle (no window waits), failed (this attempt; ``reason`` says why).
    """

    action: str
    windows: list[str] = []
    step: int | None = None
    reason: str | None = None
    gradient_steps: int = 0
    trainable_tokens: int = 0
    seconds: float = 0.0
    reward_mean: float | None = None


def train_window(
    settings: Settings,
    trainer: TrainerLike,
    *,
    window: str | None,
    actor: str,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainOutcome:
    """Train the given window, or the oldest that wait; an unfinished step comes first.

    Raises WindowNotFound, StaleLease, DatabaseError, and TrainingError where no step could begin.
    """
    begun = time.monotonic()
    with session(settings) as connection:
        lineages.ensure(connection, settings)
        settled = _nothing_to_do(connection, settings, window)
        if settled is not None:
            return settled
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        lease = lineages.claim(connection, settings.lineage, owner, settings.lease_seconds)
    if lease is None:
        return TrainOutcome("busy", reason=f"another worker trains lineage {settings.lineage}")
    bind_contextvars(lineage=lease.lineage, fencing_token=lease.fencing_token)
    try:
        with LeaseHeartbeat(settings, lease, trainer.kill) as heartbeat:
            run = Run(settings, trainer, lease, heartbeat, actor, on_progress)
            outcome = _train(run, window)
    finally:
        _release(settings, lease)
    seconds = time.monotonic() - begun
    log.info(f"train_window.{outcome.action}", reason=outcome.reason, seconds=round(seconds, 3))
    return structs.replace(outcome, seconds=seconds)


def _train(run: Run, window: str | None) -> TrainOutcome:
    settings, lease = run.settings, run.lease
    ready = run.trainer.ready()
    with session(settings) as connection:
        lineages.note_trainer(
            connection,
            lease,
            backend=ready.backend,
            base_url=ready.base_url,
            inference_name=ready.inference_name,
        )
        unfinished = steps.unfinished(connection, lease.lineage)
    head = lease.head_step
    if unfinished is not None:
        if not unfinished.due:
            reason = f"step {unfinished.target_step} was interrupted and waits for its next attempt"
            return TrainOutcome("busy", unfinished.windows, unfinished.target_step, reason)
        ended = recover(run, unfinished)
        if ended.action == "failed" or window is None or window in unfinished.windows:
            return _outcome(ended)
        head = unfinished.target_step
    run.heartbeat.check()
    align(run, head)
    with session(settings) as connection:
        planner = Planner(
            connection,
            settings,
            lease,
            backend=ready.backend,
            branches=ready.branches,
            head_step=head,
            inspect=run.inspect,
            actor=run.actor,
        )
        planned = planner.plan(window)
    if planned.step is None or planned.manifest is None:
        if planned.skipped:
            reason = "; ".join(f"{name}: {why}" for name, why in planned.skipped.items())
            return TrainOutcome("skipped", list(planned.skipped), None, reason)
        return TrainOutcome("idle", reason="no scored window waits")
    return _outcome(run.train(planned.step, planned.manifest, planned.groups, again=False))


def _nothing_to_do(
    connection: Connection, settings: Settings, window: str | None
) -> TrainOutcome | None:
    if window is None:
        if windows.scored(connection, 1) or steps.unfinished(connection, settings.lineage):
            return None
        return TrainOutcome("idle", reason="no scored window waits")
    row = windows.get(connection, window)
    if row.state == WindowState.TRAINING:
        return None
    step = steps.of_window(connection, settings.lineage, window)
    if row.state != WindowState.SCORED:
        reason = f"window {window} is {row.state}" + (f": {row.reason}" if row.reason else "")
        return TrainOutcome("skipped", [window], step, reason)
    if not row.due:
        return TrainOutcome("busy", [window], step, f"window {window} {row.standstill}")
    return None


def _outcome(ended: Ended) -> TrainOutcome:
    return TrainOutcome(
        ended.action,
        list(ended.step.windows),
        ended.step.target_step,
        ended.reason,
        ended.gradient_steps,
        ended.trainable_tokens,
        reward_mean=ended.reward_mean,
    )


def _release(settings: Settings, lease: Lease) -> None:
    try:
        with session(settings) as connection:
            lineages.release(connection, lease)
    except DatabaseError as error:
        # It expires by itself; the error that brought us here matters more.
        log.warning("the lease was not given back", lineage=lease.lineage, error=str(error))
