"""One run of a training step by the trainer, under the lease of this worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean

import structlog
from msgspec import Struct, structs
from structlog.contextvars import bind_contextvars

from babylon_tasks import metrics
from babylon_tasks.dataset.manifest import from_row
from babylon_tasks.dataset.training_defaults import TrainingValues
from babylon_tasks.db import events, set_aside, steps
from babylon_tasks.db.lease_heartbeat import LeaseHeartbeat
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.steps import Step
from babylon_tasks.errors import DatabaseError, StaleLease, TrainerDied, TrainingError
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.faults import Fault, fault_of
from babylon_tasks.mask_secrets import Mask
from babylon_tasks.pipeline.patient_write import write_patiently
from babylon_tasks.pipeline.step_request import progress_state, request_of
from babylon_tasks.pipeline.step_values import step_values
from babylon_tasks.records import Group
from babylon_tasks.settings import Settings
from babylon_tasks.states import INTERRUPT, RESTART, StepState, StepTransition
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.groups_file import passed_groups
from babylon_tasks.training.protocol import (
    Inspected,
    InspectRequest,
    RequestProgress,
    TrainRequest,
)

log = structlog.get_logger(__name__)


class StepRefused(Struct, frozen=True):
    """The step cannot be done: the trainer refused it but still runs, or its data are gone."""

    why: str
    fault: Fault = Fault.WINDOW


class StepInterrupted(Struct, frozen=True):
    """The trainer died, or its environment failed.

    The next claimant finds out whether there is a checkpoint.
    """

    why: str
    fault: Fault = Fault.WINDOW


class StepRun(Struct, frozen=True):
    """A step after a run, with its result; ``adopted``: another worker's run was taken."""

    step: Step
    result: StepResult | StepRefused | StepInterrupted
    adopted: bool = False


class StepRunner:
    """What all parts of a run share: the lease and its heartbeat, the trainer, the actor."""

    def __init__(
        self,
        settings: Settings,
        trainer: TrainerLike,
        heartbeat: LeaseHeartbeat,
        actor: str,
        on_progress: Callable[[RequestProgress], None] | None,
        on_begin: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.trainer = trainer
        self.heartbeat = heartbeat
        self.lease = heartbeat.lease
        self.actor = actor
        self._on_progress = on_progress
        self._on_begin = on_begin
        self._job: str | None = None  # of the step that runs, at W&B (job_references.py)

    @cached_property
    def values(self) -> TrainingValues:
        """What new steps are trained with."""
        return step_values(self.settings, self.trainer.ready())

    def inspect(self, group: Group, label: str) -> Inspected:
        """Let the trainer inspect candidates for a step; raises StaleLease, TrainingError."""
        path = self._folder("inspections") / f"lease-{self.lease.fencing_token}.json"
        request = InspectRequest(
            groups_path=str(path),
            packed_sequence_length=self.values.packed_sequence_length,
            logprobs=label,
        )
        self.heartbeat.check()
        with passed_groups(path, [group]):
            try:
                return self.trainer.inspect(request, lambda _: None)
            except TrainingError:
                self.heartbeat.check()
                raise
            except BaseException:
                # A late answer would be taken for that of the next request.
                self.trainer.kill()
                raise

    def train(
        self,
        step: Step,
        groups: Sequence[Group],
        transition: StepTransition,
        *,
        overdue: bool = False,
    ) -> StepRun:
        """Let the trainer run a step, which ``transition`` starts; raises StaleLease."""
        about(step)
        with session(self.settings) as connection:
            step = steps.advance(connection, self.lease, step, transition, actor=self.actor)
        self._on_begin()
        path = self._step_file(step)
        request = self._request(step, path, overdue=overdue)
        self._job = step.job
        log.info(
            "step.started",
            windows=step.windows,
            groups=len(groups),
            attempts=step.attempts,
            parent=request.parent_step,
        )
        self._check_lease(step)
        # None: they are gone, and a job is followed; a supervised step compares no rewards.
        compared = bool(groups) and request.supervised is None
        entries = from_row(step.manifest).entries if compared else ()
        reward = fmean(entry.reward for _, entry in entries) if entries else None
        began = time.monotonic()
        try:
            with passed_groups(path, groups):
                result = self.trainer.train(
                    request, lambda progress: self._report(step, progress, reward, began)
                )
        except TrainingError as error:
            self._check_lease(step)
            why, fault = str(error), error.fault
            # From a damaged parent nothing can be trained: the next plan may choose another one.
            again = (
                isinstance(error, TrainerDied)
                or bool(self._job)  # it may still succeed
                or (not fault.uses_up_attempts and fault is not Fault.FILE_DAMAGED)
            )
            return StepRun(step, (StepInterrupted if again else StepRefused)(why, fault))
        except BaseException as error:
            # The trainer would continue under a lease that is about to be released.
            self.trainer.kill()
            if isinstance(error, KeyboardInterrupt | SystemExit):
                self._interrupted(step, type(error).__name__, patient=False)
            elif not fault_of(error).uses_up_attempts:
                self._interrupted(step, str(error), patient=True)
            raise
        self.heartbeat.check()
        metrics.STEP_SECONDS.labels(step.lineage).observe(time.monotonic() - began)
        return StepRun(step, result)

    @property
    def remote(self) -> bool:
        """Whether checkpoints are at W&B: none can be moved, and steps start from the newest."""
        return self.trainer.ready().backend == "serverless"

    def set_aside(self, number: int, why: str, *, step: Step | None = None) -> None:
        """Set the backend's newest checkpoint aside, which cannot be verified, and record it.

        At W&B it stays the newest: no step is planned until it is deleted.
        """
        log.warning("checkpoint.set_aside", checkpoint=number, why=why)
        owner = "left" if step is None else f"row{step.id}"
        folder = f"{number:04d}-{owner}-lease{self.lease.fencing_token}"
        with session(self.settings) as connection:
            set_aside.add(
                connection,
                self.lease.lineage,
                number,
                step_id=None if step is None else step.id,
                folder=folder,
                why=why,
                actor=self.actor,
                stays=self.remote,
            )
        self.trainer.set_aside(number, folder)

    def discard(self, number: int, why: str, *, step: Step | None = None) -> None:
        """Remove the backend's newest checkpoint, with which nothing is lost, and record it."""
        log.warning("checkpoint.discarded", checkpoint=number, why=why)
        with session(self.settings) as connection:
            events.record(
                connection,
                EventKind.CHECKPOINT_DISCARDED,
                actor=self.actor,
                lineage=self.lease.lineage,
                step_id=None if step is None else step.id,
                detail={"step": number, "why": why[: steps.ERROR_LENGTH]},
            )
        self.trainer.discard(number)

    def follow(self, step: Step, groups: Sequence[Group], *, overdue: bool) -> StepRun:
        """Let the trainer follow the step's job at W&B, which an earlier run began.

        ``groups``: the step's, where they are still there; its policy is asked after their prompts.
        Raises StaleLease, and TrainingError where a verified step's job cannot be followed.
        """
        if step.state != StepState.TRAINED:
            ran = self.train(step, groups, RESTART, overdue=overdue)
            return structs.replace(ran, adopted=True)
        path = self._step_file(step)
        self.heartbeat.check()
        request = self._request(step, path, overdue=overdue)
        with passed_groups(path, groups):
            return StepRun(step, self.trainer.train(request, lambda _: None), adopted=True)

    def _request(self, step: Step, groups: Path, *, overdue: bool) -> TrainRequest:
        bound = self.settings.max_mismatch_kl or None
        request = request_of(step, groups)
        return structs.replace(request, max_mismatch_kl=bound, overdue=overdue)

    def _step_file(self, step: Step) -> Path:
        return self._folder("steps") / str(step.id) / f"lease-{step.fencing_token}.json"

    def _check_lease(self, step: Step) -> None:
        if self.heartbeat.lost is not None:
            self._interrupted(step, self.heartbeat.lost, patient=True)
        self.heartbeat.check()

    def _interrupted(self, step: Step, why: str, *, patient: bool) -> None:
        """Record that the run counts as no attempt; ``patient``: wait for Postgres."""
        error = Mask(self.settings).text(why)[: steps.ERROR_LENGTH]  # it is stored, and shown

        def note(connection: Connection) -> None:
            if self._job is not None:  # Postgres may have been away as it came in
                steps.note_job(connection, self.lease, step, self._job)
            steps.advance(
                connection,
                self.lease,
                step,
                INTERRUPT,
                actor=self.actor,
                columns={"error": error},
                detail={"why": error},
            )

        try:
            write_patiently(self.settings, note, patient=patient)
        except (DatabaseError, StaleLease) as error:
            # The interruption matters more: the next claimant recovers the step.
            log.warning("interruption.not_recorded", error=str(error))

    def _report(
        self, step: Step, progress: RequestProgress, reward: float | None, began: float
    ) -> None:
        if progress.job is not None:
            self._job = progress.job
            with session(self.settings) as connection:
                steps.note_job(connection, self.lease, step, progress.job)
        state = progress_state(progress, reward, time.monotonic() - began)
        self.heartbeat.report_progress(step, state)
        if self._on_progress is not None:
            self._on_progress(progress)

    def _folder(self, name: str) -> Path:
        return self.settings.data_dir.absolute() / self.lease.lineage / name


def about(step: Step) -> None:
    """Bind the step to later lines of the log."""
    bind_contextvars(
        window=", ".join(step.windows),
        step=step.target_step,
        fencing_token=step.fencing_token,
    )
