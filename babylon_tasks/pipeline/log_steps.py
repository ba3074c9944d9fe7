"""Log committed steps through ART: ``history.jsonl``, and W&B's curves where there is a key."""

from __future__ import annotations

import structlog

from babylon_tasks.db import steps
from babylon_tasks.db.lease_heartbeat import claim_lineage
from babylon_tasks.db.session import session
from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.protocol import LoggedStep

log = structlog.get_logger(__name__)

_AT_ONCE = 100  # a line has about 2 kB


def log_missed_steps(settings: Settings, trainer: TrainerLike) -> None:
    """Log what the last worker committed and could not log; whoever trains the lineage does so."""
    try:
        with claim_lineage(settings, on_lost=trainer.kill) as heartbeat:
            if heartbeat is not None:
                log_steps(settings, trainer)
    except BabylonTasksError as error:
        log.warning("steps.not_logged", why=str(error))


def log_steps(settings: Settings, trainer: TrainerLike) -> None:
    """Log every committed step that ART's history lacks; one that cannot be logged counts all the
    same. The caller has the lineage's lease: nobody else writes the history meanwhile.

    What is missing is found by the newest step that the history has. So a step gets its line, and
    only one, although it was adopted, or its worker was killed after the commit.
    """
    try:
        logged = trainer.log_steps(())
        while found := _committed_after(settings, logged):
            newest = trainer.log_steps(found)
            if newest <= logged:
                log.warning("steps.not_logged", step=found[0].step, why="it stays as it was")
                return
            logged = newest
    except (BabylonTasksError, OSError) as error:
        log.warning("steps.not_logged", why=str(error))


def _committed_after(settings: Settings, step: int) -> list[LoggedStep]:
    with session(settings) as connection:
        found = steps.committed_after(connection, settings.lineage, step, limit=_AT_ONCE)
    return [LoggedStep(number, measured) for number, measured in found.items()]
