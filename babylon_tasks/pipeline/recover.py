"""What to do with a step that somebody began and did not end: adopt it, run it again, or fail it.

| the backend stands at | and its record says | then |
|---|---|---|
| base     | -                  | run the same step again, up to ``max_attempts`` |
| base + 1 | the same manifest  | verify and adopt |
| base + 1 | anything else      | discard that checkpoint, run again |
| elsewhere| -                  | refuse: database and backend tell different stories |
"""

from __future__ import annotations

import structlog
from msgspec import structs

from babylon_tasks.dataset.manifest import from_row
from babylon_tasks.db import events, steps
from babylon_tasks.db.session import session
from babylon_tasks.db.steps import Step
from babylon_tasks.errors import TrainingError
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.pipeline import load_groups
from babylon_tasks.pipeline.run import Ended, Run, about_step
from babylon_tasks.pipeline.verify_step import verify
from babylon_tasks.states import StepState

log = structlog.get_logger(__name__)


def recover(run: Run, step: Step) -> Ended:
    """Bring an unfinished step to an end; raises StaleLease, TrainingError."""
    with session(run.settings) as connection:
        step = steps.take_over(connection, run.lease, step, actor=run.actor)
    about_step(step)
    log.info("train_window.recovers", state=step.state, attempts=step.attempts)
    manifest = from_row(step.manifest)
    backend = run.trainer.backend_step()
    if backend.step not in (step.base_step, step.target_step):
        raise TrainingError(
            f"step {step.target_step} of lineage {step.lineage} is unfinished, but the backend "
            f"stands at {backend.step}; the database and BABYLON_DATA_DIR do not belong together, "
            "restore the one that was changed"
        )
    if backend.step == step.target_step:
        record = backend.trained
        if record is not None and record.manifest_hash == step.manifest_hash:
            fault = verify(step.base_step, record, step.manifest_hash)
            if fault is not None:
                return run.give_up(step, f"not verified: {fault}", record)
            if step.state == StepState.PLANNED:
                with session(run.settings) as connection:
                    steps.start(connection, run.lease, step, again=False, actor=run.actor)
                step = structs.replace(step, state=StepState.RUNNING)
            ended = run.commit(step, manifest, record)
            return structs.replace(ended, action="adopted")
        run.discard(step, _stranger(step, None if record is None else record.manifest_hash))
    if step.state == StepState.TRAINED:
        return run.give_up(step, "its checkpoint, once verified, is gone from the backend")
    if step.attempts >= run.settings.max_attempts:
        return run.give_up(step, f"interrupted {step.attempts} times")
    with session(run.settings) as connection:
        groups = load_groups.of_manifest(connection, run.settings, manifest)
    if groups is None:
        return run.give_up(step, "its trajectories have changed or gone since it was planned")
    return run.train(step, manifest, groups, again=True)


def align(run: Run, head_step: int) -> None:
    """See that the backend stands at the head before a new step is planned.

    Raises TrainingError where it does not; the leftover of a failed step is removed.
    """
    backend = run.trainer.backend_step()
    if backend.step == head_step:
        return
    leftover = backend.trained
    with session(run.settings) as connection:
        if (
            backend.step == head_step + 1
            and leftover is not None
            and steps.failed_at(connection, run.lease.lineage, backend.step, leftover.manifest_hash)
        ):
            events.record(
                connection,
                EventKind.CHECKPOINT_DISCARDED,
                actor=run.actor,
                lineage=run.lease.lineage,
                detail={"step": backend.step, "why": "left behind by a step that failed"},
            )
            run.trainer.discard(backend.step)
            return
    raise TrainingError(
        f"lineage {run.lease.lineage} has its head at step {head_step}, but the backend stands at "
        f"{backend.step}; the database and BABYLON_DATA_DIR do not belong together: restore the "
        "one that was changed, or choose a new BABYLON_LINEAGE"
    )


def _stranger(step: Step, found: str | None) -> str:
    what = "no record of how it was made" if found is None else f"manifest {found[:12]}"
    return f"the backend's checkpoint has {what}, step needs {step.manifest_hash[:12]}"
