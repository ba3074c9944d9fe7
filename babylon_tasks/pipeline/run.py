"""One training step, from the row that plans it to the commit, or to a failure with its reason."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import msgspec
import structlog
from msgspec import Struct, structs
from structlog.contextvars import bind_contextvars

from babylon_tasks import metrics
from babylon_tasks.dataset.manifest import Manifest
from babylon_tasks.db import commits, events, steps
from babylon_tasks.db.lease_heartbeat import LeaseHeartbeat
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import session
from babylon_tasks.db.steps import Result, Step
from babylon_tasks.errors import DatabaseError, TrainerDied, TrainingError
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.pipeline.verify_step import verify
from babylon_tasks.records import Group
from babylon_tasks.settings import Settings
from babylon_tasks.states import StepState
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.protocol import GroupsFile, Inspect, Inspected, Progress, Train, Trained

log = structlog.get_logger()


class Ended(Struct, frozen=True):
    """How a run ended: ``committed``, or ``failed`` with its reason."""

    action: str
    step: Step
    reason: str | None = None
    gradient_steps: int = 0
    trainable_tokens: int = 0
    reward_mean: float | None = None


class Run:
    """What all parts of a run share: the lease and who keeps it, the trainer, who asks."""

    def __init__(
        self,
        settings: Settings,
        trainer: TrainerLike,
        lease: Lease,
        heartbeat: LeaseHeartbeat,
        actor: str,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.settings = settings
        self.trainer = trainer
        self.lease = lease
        self.heartbeat = heartbeat
        self.actor = actor
        self._on_progress = on_progress

    def inspect(self, group: Group, label: str) -> Inspected:
        """Have the trainer inspect candidates for a step; raises StaleLease, TrainingError."""
        path = inspection_path(self.settings, self.lease.fencing_token)
        write_groups(path, [group])
        request = Inspect(
            groups_path=str(path),
            packed_sequence_length=self.settings.packed_sequence_length,
            logprobs=label,
        )
        self.heartbeat.check()
        try:
            return self.trainer.inspect(request, lambda _: None)
        except TrainingError:
            self.heartbeat.check()
            raise
        except BaseException:
            # A late answer would be taken for the next request's.
            self.trainer.kill()
            raise
        finally:
            path.unlink()

    def train(
        self, step: Step, manifest: Manifest, groups: Sequence[Group], *, again: bool
    ) -> Ended:
        """Run a planned step, or one that was interrupted, and commit it; raises StaleLease.

        A trainer that dies leaves the step to the next attempt: whether a checkpoint was
        written can only be told once another trainer has looked.
        """
        about_step(step)
        with session(self.settings) as connection:
            steps.start(connection, self.lease, step, again=again, actor=self.actor)
        step = structs.replace(step, state=StepState.RUNNING, attempts=step.attempts + again)
        path = groups_path(self.settings, step)
        write_groups(path, groups)
        log.info(
            "train_window.trains",
            windows=step.windows,
            groups=len(groups),
            attempts=step.attempts,
            parent=manifest.parent_step,
        )
        config = manifest.config
        request = Train(
            base_step=step.base_step,
            manifest_hash=step.manifest_hash,
            groups_path=str(path),
            learning_rate=config.learning_rate,
            kl_coefficient=config.kl_coefficient,
            seed=config.seed,
            packed_sequence_length=config.packed_sequence_length,
            logprobs=manifest.logprobs,
            parent_step=manifest.parent_step,
        )
        self.heartbeat.check()
        reward = fmean(member.reward for group in groups for member in group.members)
        begun = time.monotonic()
        try:
            result = self.trainer.train(
                request, lambda progress: self._tell(step, progress, reward, begun)
            )
        except TrainerDied as death:
            self.heartbeat.check()
            return self._postpone(step, str(death))
        except TrainingError as error:
            self.heartbeat.check()
            return self.give_up(step, str(error))
        except BaseException as error:
            # The trainer would go on with a lease that is about to be given back.
            self.trainer.kill()
            if isinstance(error, KeyboardInterrupt | SystemExit):
                self._interrupted(step, type(error).__name__)
            raise
        self.heartbeat.check()
        metrics.STEP_SECONDS.labels(step.lineage).observe(time.monotonic() - begun)
        path.unlink()
        fault = verify(step.base_step, result, step.manifest_hash)
        if fault is not None:
            return self.give_up(step, f"not verified: {fault}", result)
        return self.commit(step, manifest, result)

    def commit(self, step: Step, manifest: Manifest, verified: Trained) -> Ended:
        """Write down a verified result and make it count; raises StaleLease."""
        result = Result(
            gradient_steps=verified.gradient_steps,
            trainable_tokens=verified.trainable_tokens,
            adapter_hash=verified.adapter_hash,
            uri=verified.uri,
            inference_name=verified.inference_name,
            metrics=verified.metrics,
        )
        with session(self.settings) as connection:
            if step.state == StepState.RUNNING:
                steps.trained(connection, self.lease, step, result, actor=self.actor)
            step = structs.replace(step, state=StepState.TRAINED)
            commits.commit(
                connection,
                self.lease,
                step,
                result,
                base_model=manifest.base_model,
                rewards=[(entry.trajectory_id, entry.reward) for _, entry in manifest.entries],
                actor=self.actor,
            )
        metrics.GRADIENT_STEPS.labels(step.lineage).inc(verified.gradient_steps)
        metrics.TRAINED_TOKENS.labels(step.lineage).inc(verified.trainable_tokens)
        metrics.STEPS.labels(step.lineage, "committed").inc()
        return Ended(
            "committed",
            step,
            gradient_steps=verified.gradient_steps,
            trainable_tokens=verified.trainable_tokens,
            reward_mean=fmean(entry.reward for _, entry in manifest.entries),
        )

    def give_up(self, step: Step, reason: str, result: Trained | None = None) -> Ended:
        """Fail a step and free its data; what it left in the backend is removed first."""
        # In this order: a crash in between leaves a step that recovery can still judge.
        if self.trainer.backend_step().step == step.target_step:
            self.discard(step, reason)
        with session(self.settings) as connection:
            steps.fail(
                connection,
                self.lease,
                step,
                reason,
                self.settings,
                actor=self.actor,
                metrics=None if result is None else result.metrics,
            )
        metrics.STEPS.labels(step.lineage, "failed").inc()
        return Ended("failed", step, reason)

    def discard(self, step: Step, why: str) -> None:
        """Remove a step's checkpoint that must not count, on record."""
        log.warning("a checkpoint is discarded", step=step.target_step, why=why)
        with session(self.settings) as connection:
            events.record(
                connection,
                EventKind.CHECKPOINT_DISCARDED,
                actor=self.actor,
                lineage=step.lineage,
                step_id=step.id,
                detail={"step": step.target_step, "why": why[:2000]},
            )
        self.trainer.discard(step.target_step)

    def _postpone(self, step: Step, why: str) -> Ended:
        with session(self.settings) as connection:
            delay = self.settings.retry_delay_seconds
            steps.postpone(connection, self.lease, step, why, delay=delay, actor=self.actor)
        metrics.STEPS.labels(step.lineage, "interrupted").inc()
        return Ended("failed", step, why)

    def _interrupted(self, step: Step, why: str) -> None:
        try:
            with session(self.settings) as connection:
                steps.interrupt(connection, self.lease, step, why, actor=self.actor)
        except DatabaseError as error:
            log.warning(
                "the interruption is not on record", step=step.target_step, error=str(error)
            )

    def _tell(self, step: Step, progress: Progress, reward: float, begun: float) -> None:
        spent = time.monotonic() - begun
        left = spent * (progress.total - progress.done) / progress.done if progress.done else None
        state = {
            "done": progress.done,
            "total": progress.total,
            "tokens": progress.tokens,
            "loss": progress.loss
            if progress.loss is not None and math.isfinite(progress.loss)
            else None,
            "reward": reward,
            "seconds_left": None if left is None else round(left, 1),
        }
        self.heartbeat.report_progress(step, state)
        if self._on_progress is not None:
            self._on_progress(progress)


def about_step(step: Step) -> None:
    """Later lines of the log are about this step."""
    bind_contextvars(
        window=", ".join(step.windows), step=step.target_step, fencing_token=step.fencing_token
    )


def groups_path(settings: Settings, step: Step) -> Path:
    """Where the data of one run are handed to the trainer."""
    folder = settings.data_dir.absolute() / step.lineage / "steps" / str(step.id)
    return folder / f"lease-{step.fencing_token}.json"


def inspection_path(settings: Settings, fencing_token: int) -> Path:
    """Where candidates for a step are handed to the trainer."""
    folder = settings.data_dir.absolute() / settings.lineage / "inspections"
    return folder / f"lease-{fencing_token}.json"


def write_groups(path: Path, groups: Sequence[Group]) -> None:
    """Write a groups file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}")
    with scratch.open("wb") as file:
        file.write(msgspec.json.encode(GroupsFile(groups=tuple(groups))))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
