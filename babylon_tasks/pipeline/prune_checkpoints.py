"""Prune old checkpoints: mark them, then delete their files; a crash in between is made good."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from babylon_tasks.dataset.checkpoint_tree import ages
from babylon_tasks.dataset.eligibility import RESCORED
from babylon_tasks.db import lineages, old_checkpoints
from babylon_tasks.db.lineages import Lineage
from babylon_tasks.db.session import Connection, session
from babylon_tasks.pipeline.live_lineages import other_lineages
from babylon_tasks.pipeline.results import PrunedCheckpoints
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.old_files import DataFolder

log = structlog.get_logger(__name__)


def prune_checkpoints(
    settings: Settings,
    trainer: Callable[[], TrainerLike],
    *,
    actor: str,
    dry_run: bool = False,
) -> PrunedCheckpoints:
    """Prune the lineage's checkpoints, optimizer states, and data of ended steps.

    ``trainer`` is called where the checkpoints are not on this machine. Safe beside a step, and
    from any number of callers. Raises BackendUnavailable where this is not the data folder, with
    nothing pruned, and TrainingError where something cannot be deleted.
    """
    with session(settings) as connection:
        lineage = lineages.get(connection, settings.lineage)
    if lineage is None:
        return PrunedCheckpoints()
    if lineage.backend == "serverless":
        found = _elsewhere(settings, lineage, trainer, actor=actor, dry_run=dry_run)
    else:
        found = _here(settings, lineage, actor=actor, dry_run=dry_run)
    if found.deleted and not dry_run:
        log.info("checkpoints.pruned", steps=found.deleted, bytes=found.size)
    return found


def with_old_checkpoints(settings: Settings) -> list[str]:
    """List the lineages with something to mark: the settings' own, and the other live ones.

    By these settings; each worker prunes its own lineage by its own.
    """
    with session(settings) as connection:
        all_of_them = {settings.lineage: settings, **other_lineages(connection, settings)}
        return [
            name
            for name, theirs in all_of_them.items()
            if (lineage := lineages.get(connection, name)) is not None
            and _marked(connection, theirs, lineage, None)
        ]


def _here(settings: Settings, lineage: Lineage, *, actor: str, dry_run: bool) -> PrunedCheckpoints:
    folder = DataFolder(
        settings.data_dir.absolute(), settings.project, lineage.name, lineage.data_folder
    )
    with session(settings) as connection:
        marked = _marked(connection, settings, lineage, None if dry_run else actor)
        pruned = {*old_checkpoints.pruned(connection, lineage.name), *marked}
        unread = set(old_checkpoints.without_optimizer(connection, lineage.name)) - pruned
        ended = old_checkpoints.ended_steps(connection, lineage.name, folder.steps())
        old = folder.find(pruned, unread, ended)
        if not dry_run:
            folder.delete(old)
            old_checkpoints.note_deleted(connection, lineage.name, pruned)
    return PrunedCheckpoints(marked, old.checkpoints, old.optimizers, old.steps, old.size)


def _elsewhere(
    settings: Settings,
    lineage: Lineage,
    trainer: Callable[[], TrainerLike],
    *,
    actor: str,
    dry_run: bool,
) -> PrunedCheckpoints:
    with session(settings) as connection:
        marked = _marked(connection, settings, lineage, None if dry_run else actor)
        old = sorted({*old_checkpoints.to_delete(connection, lineage.name), *marked})
    if old and not dry_run:
        trainer().delete(old)
        with session(settings) as connection:
            old_checkpoints.note_deleted(connection, lineage.name, old)
    return PrunedCheckpoints(marked, old)


def _marked(
    connection: Connection, settings: Settings, lineage: Lineage, actor: str | None
) -> list[int]:
    """Mark what nothing needs any more; without an actor, only list it."""
    # The answers of what has served can be scored again while they are not stale.
    answered: list[int] = []
    if RESCORED in settings.labels:
        parents = lineages.parents(connection, lineage.name)
        distances = ages(lineage.serving_step, lineage.head_step, parents)
        most = settings.max_staleness_steps
        answered = [step for step, distance in distances.items() if distance <= most]
    newest = settings.keep_checkpoints
    if actor is None:
        return old_checkpoints.to_prune(connection, lineage.name, newest=newest, answered=answered)
    return old_checkpoints.mark(
        connection, lineage.name, newest=newest, answered=answered, actor=actor
    )
