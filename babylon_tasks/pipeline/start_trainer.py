"""Start the lineage's one trainer on the lineage's own folder, and let only what is whole serve."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from babylon_tasks.db import lineages, promotions, trainer_lease
from babylon_tasks.db.lineages import Lineage
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import AnotherTrainer, BackendUnavailable, TrainingError
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.step_records import CommittedCheckpoint
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.data_folder import lock_name
from babylon_tasks.training.protocol import CheckRequest
from babylon_tasks.training.trainer_start import TrainerReady

log = structlog.get_logger(__name__)


def start_trainer(settings: Settings, trainer: TrainerLike, *, actor: str) -> TrainerReady:
    """Start the trainer if it is not running; return once it may serve and train the lineage.

    A serving checkpoint that is not what was committed is rolled back to the newest whole one
    that was promoted, or to the base model. Raises AnotherTrainer, BackendUnavailable where the
    data folder is another lineage's or another database's, TrainerDied; then nothing has changed
    but the lineage's ``trouble``.
    """
    _refuse_a_second(settings)
    ready = trainer.ready()
    with session(settings) as connection:
        lineage = lineages.ensure(connection, settings)
        committed = tuple(lineages.checkpoints(connection, settings.lineage))
    newest = max((one.step for one in committed), default=0)  # a discarded head is none
    damaged = find_damaged(trainer, committed, lineage.serving_step, newest)
    try:
        _take(settings, trainer, ready, lineage, newest, damaged)
    except TrainingError:
        trainer.close()  # agents must not be answered from another's checkpoints
        raise
    with session(settings) as connection:
        if lineage.serving_step in damaged:
            _fall_back(connection, trainer, committed, lineage, damaged, actor=actor)
        _note(connection, lineage, "; ".join(damaged[step] for step in sorted(damaged)) or None)
    return ready


def _refuse_a_second(settings: Settings) -> None:
    # Before the trainer loads a model for nothing.
    with session(settings) as connection:
        lineages.ensure(connection, settings)
        lease = trainer_lease.current(connection, settings.lineage)
    if lease is not None and lease.name != lock_name(
        settings.data_dir.absolute(), settings.lineage
    ):
        raise _second(settings.lineage)


def find_damaged(
    trainer: TrainerLike, committed: tuple[CommittedCheckpoint, ...], *steps: int
) -> dict[int, str]:
    """Find those of the steps that are not what was committed: step to reason."""
    request = CheckRequest(committed, tuple(sorted({step for step in steps if step > 0})))
    return {
        step: f"checkpoint {step} cannot be loaded: {why}"
        for step, why in trainer.check(request).damaged.items()
    }


def _take(
    settings: Settings,
    trainer: TrainerLike,
    ready: TrainerReady,
    lineage: Lineage,
    newest: int,
    damaged: Mapping[int, str],
) -> None:
    """Take the trainer's lease; raises where the folder is not the lineage's."""
    if ready.folder_id is None or ready.lock_name is None:
        return  # the checkpoints are not on this machine
    head = lineage.head_step
    if ready.folder_id != lineage.data_folder and newest in damaged:
        known = trainer.backend_step().step
        if lineage.data_folder is not None or known not in (head, head + 1):
            why = (
                f"BABYLON_DATA_DIR {settings.data_dir} is not the folder in which lineage "
                f"{lineage.name} was trained, it is at step {known} and not {head}: "
                f"{damaged[newest]}"
            )
            with session(settings) as connection:
                lineages.note_trouble(connection, lineage.name, why)
            raise BackendUnavailable(
                f"{why}; database and data folder do not belong together: restore the one that "
                "was changed, or choose a new BABYLON_LINEAGE"
            )
    with session(settings) as connection:
        taken = trainer_lease.take(
            connection,
            lineage.name,
            ready.lock_name,
            settings.lease_seconds,
            folder_id=ready.folder_id,
        )
    if not taken:
        raise _second(lineage.name)


def _fall_back(
    connection: Connection,
    trainer: TrainerLike,
    committed: tuple[CommittedCheckpoint, ...],
    lineage: Lineage,
    damaged: dict[int, str],
    *,
    actor: str,
) -> None:
    wrong = lineage.serving_step
    target = 0
    for step in promotions.served_before(connection, lineage.name, wrong):
        found = find_damaged(trainer, committed, step)
        if not found:
            target = step
            break
        damaged |= found
    now = serving.rollback(
        connection,
        lineage.name,
        reason=damaged[wrong],
        actor=actor,
        to=target,
        instead_of=wrong,
        figures={"refused": False},  # nothing is said about how it was learned
    )
    log.error("checkpoint.damaged", why=damaged[wrong], serving=now)


def _note(connection: Connection, lineage: Lineage, trouble: str | None) -> None:
    if lineages.note_trouble(connection, lineage.name, trouble) and trouble is not None:
        log.error("trouble.noted", lineage=lineage.name, why=trouble)


def _second(lineage: str) -> AnotherTrainer:
    return AnotherTrainer(
        f"another trainer, with another data folder, serves lineage {lineage}; this one waits: "
        "stop the other, or give this worker another BABYLON_LINEAGE"
    )
