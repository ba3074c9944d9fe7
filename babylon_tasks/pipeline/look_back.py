"""Look at what served before, and return to it where it is worth more today.

After refusals in a row it is evaluated on the held-out set. Where agents earn less than they did,
it is on the groups of the hours since, whether steps are refused or not: a policy that is sure and
wrong has few groups with spread, its steps are hardly worse, and what is held out may be of before.
"""

from __future__ import annotations

import structlog

from babylon_tasks.dataset import diversity, held_out
from babylon_tasks.db import arms, evaluations, lineages, promotions, windows
from babylon_tasks.db.session import session
from babylon_tasks.errors import TrainerDied, TrainingError
from babylon_tasks.pipeline.checkpoint_figures import ComparedCheckpoints, figures_of
from babylon_tasks.pipeline.compared_groups import groups_since
from babylon_tasks.pipeline.start_trainer import find_damaged
from babylon_tasks.records import Group
from babylon_tasks.registry import earnings, refusals, serving
from babylon_tasks.registry import look_back as rule
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.protocol import OnProgress

log = structlog.get_logger(__name__)


def look_back(
    settings: Settings,
    trainer: TrainerLike,
    compared: ComparedCheckpoints,
    on_progress: OnProgress,
    *,
    refused: bool,
    actor: str,
) -> int:
    """Return to what served before if that is worth more today; returns what serves then.

    ``compared``: what serves, and the held-out set; ``refused``: its head was refused just now.
    Arms have their comparison, which decides.
    """
    lineage, current = settings.lineage, compared.serving
    with session(settings) as connection:
        if arms.steps(connection, lineage):
            return current
        row = refusals.count(connection, lineage, current).refused if refused else 0
        hours = windows.earned(
            connection, lineage, newest=earnings.HOURS, least=earnings.LEAST_SCORED
        )
        drop = earnings.find_drop(hours, settings.profit_scale)
        since: tuple[Group, ...] = ()
        compared_before = False
        if drop is not None:
            since = groups_since(connection, settings, drop.since, actor=actor)
            known = evaluations.of_set(connection, lineage, held_out.set_hash(since))
            compared_before = bool(known)
    if rule.is_due(row):
        why = f"{row} steps in a row were refused"
        current = _return(settings, trainer, compared, why, on_progress, actor=actor)
    if drop is None or current != compared.serving:
        return current
    if len(since) >= settings.min_eval_groups and not compared_before:
        today = ComparedCheckpoints(compared.head, current, since, held_out.set_hash(since))
        current = _return(
            settings, trainer, today, str(drop), on_progress, since=drop.since, actor=actor
        )
    if current == compared.serving:
        log.warning(
            "profits.dropped",
            why=f"{drop}; nothing that served before is known to be worth more today",
            groups=len(since),
            todo=f"see `babylon-tasks show {drop.since}`; `models rollback` if you know what is",
        )
    return current


def _return(
    settings: Settings,
    trainer: TrainerLike,
    compared: ComparedCheckpoints,
    why: str,
    on_progress: OnProgress,
    *,
    since: str | None = None,
    actor: str,
) -> int:
    lineage, current = settings.lineage, compared.serving
    with session(settings) as connection:
        parents = lineages.parents(connection, lineage)
        kept = {0, *promotions.servable(connection, lineage)}
        committed = tuple(lineages.checkpoints(connection, lineage))
    asked = rule.choose_earlier(current, parents, kept)
    try:
        asked = [step for step in asked if not find_damaged(trainer, committed, step)]
        scores = figures_of(settings, trainer, compared, {current, *asked}, on_progress)
    except TrainerDied:
        raise
    except TrainingError as error:
        log.warning(
            "evaluation.postponed", why=f"{why}, and earlier checkpoints were not seen: {error}"
        )
        return current
    found = rule.find_better(
        scores[current],
        [scores[step] for step in asked],
        held_out.places(compared.groups),
        settings,
        diversity.answers(compared.groups),
        anew=since is not None,
    )
    if found is None:
        return current
    with session(settings) as connection:
        moved = serving.go_back(
            connection,
            lineage,
            found.step,
            instead_of=current,
            reason=f"{why}, and {found.reason}",
            figures=found.figures | {"set_hash": compared.set_hash, "since": since},
            actor=actor,
        )
    if not moved:
        return current
    log.info("checkpoint.restored", serving=found.step, reason=found.reason)
    return found.step
