"""Prune old checkpoints: mark them, then delete their files; a crash in between is made good."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from babylon_tasks.dataset.checkpoint_tree import ages
from babylon_tasks.dataset.eligibility import RESCORED
from babylon_tasks.db import lineages, old_checkpoints, set_aside
from babylon_tasks.db.lineages import Lineage
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.set_aside import SetAside
from babylon_tasks.pipeline.live_lineages import other_lineages
from babylon_tasks.pipeline.results import PrunedCheckpoints
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.old_files import DataFolder
from babylon_tasks.training.step_numbers import numbered
from babylon_tasks.training.unfinished import step_of

log = structlog.get_logger(__name__)


def prune_checkpoints(
    settings: Settings,
    trainer: Callable[[], TrainerLike],
    *,
    actor: str,
    dry_run: bool = False,
    all_set_aside: bool = False,
) -> PrunedCheckpoints:
    """Prune the lineage's checkpoints, those set aside, optimizer states, data of ended steps.

    ``all_set_aside``: all of these, and what ART never finished. ``trainer`` is called where the
    checkpoints are not on this machine. Safe beside a step, and from any number of callers. Raises
    BackendUnavailable where this is not the data folder, with nothing pruned, and TrainingError
    where something cannot be deleted.
    """
    with session(settings) as connection:
        lineage = lineages.get(connection, settings.lineage)
    if lineage is None:
        return PrunedCheckpoints()
    with session(settings) as connection:
        aside = set_aside.old(
            connection, lineage.name, newest=settings.keep_checkpoints, all_=all_set_aside
        )
    if lineage.backend == "serverless":
        found = _elsewhere(settings, lineage, trainer, aside, actor=actor, dry_run=dry_run)
    else:
        found = _here(settings, lineage, aside, actor=actor, dry_run=dry_run, all_=all_set_aside)
    if not dry_run:
        with session(settings) as connection:
            set_aside.note_deleted(connection, [one.id for one in aside])
        if found.deleted or aside:
            log.info(
                "checkpoints.pruned",
                steps=found.deleted,
                set_aside=found.set_aside,
                bytes=found.size,
            )
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
            and (
                _marked(connection, theirs, lineage, None)
                or set_aside.old(connection, name, newest=theirs.keep_checkpoints, all_=False)
            )
        ]


def _here(
    settings: Settings,
    lineage: Lineage,
    aside: Sequence[SetAside],
    *,
    actor: str,
    dry_run: bool,
    all_: bool,
) -> PrunedCheckpoints:
    folder = DataFolder(
        settings.data_dir.absolute(), settings.project, lineage.name, lineage.data_folder
    )
    with session(settings) as connection:
        marked = _marked(connection, settings, lineage, None if dry_run else actor)
        pruned = {*old_checkpoints.pruned(connection, lineage.name), *marked}
        unread = set(old_checkpoints.without_optimizer(connection, lineage.name)) - pruned
        ended = old_checkpoints.ended_steps(connection, lineage.name, folder.steps())
        unfinished = folder.unfinished() if all_ else []
        old = folder.find(pruned, unread, ended, [*(one.folder for one in aside), *unfinished])
        if not dry_run:
            folder.delete(old)
            old_checkpoints.note_deleted(connection, lineage.name, pruned)
    numbers = [*(one.step for one in aside), *map(step_of, unfinished)]
    return PrunedCheckpoints(marked, old.checkpoints, old.optimizers, old.steps, old.size, numbers)


def _elsewhere(
    settings: Settings,
    lineage: Lineage,
    trainer: Callable[[], TrainerLike],
    aside: Sequence[SetAside],
    *,
    actor: str,
    dry_run: bool,
) -> PrunedCheckpoints:
    # By its number: one that is no longer beyond the head is gone, and its number is another's.
    numbers = [one.step for one in aside if one.step > lineage.head_step]
    with session(settings) as connection:
        marked = _marked(connection, settings, lineage, None if dry_run else actor)
        old = sorted({*old_checkpoints.to_delete(connection, lineage.name), *marked})
    if (old or numbers) and not dry_run:
        numbered(settings, trainer()).delete([*old, *numbers])
        with session(settings) as connection:
            old_checkpoints.note_deleted(connection, lineage.name, old)
    return PrunedCheckpoints(marked, old, set_aside=numbers)


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
