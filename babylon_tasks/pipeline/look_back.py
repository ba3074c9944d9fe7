"""Look at what served before, and return to it where it is worth more today.

After refusals in a row it is evaluated on the held-out set. Where agents earn less than they did,
it is on the groups of the hours since, whether steps are refused or not: a policy that is sure and
wrong has few groups with spread, its steps are hardly worse, and what is held out may be of before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import structlog

from babylon_tasks.dataset import diversity, held_out
from babylon_tasks.dataset.checkpoint_tree import Parents, path
from babylon_tasks.db import arms, evaluations, lineages, promotions, windows
from babylon_tasks.db.session import Connection, session
from babylon_tasks.decisions import Decision
from babylon_tasks.errors import TrainerDied, TrainingError
from babylon_tasks.pipeline.checkpoint_figures import ComparedCheckpoints, figures_of, on_record
from babylon_tasks.pipeline.compared_groups import groups_since
from babylon_tasks.pipeline.start_trainer import find_damaged, start_trainer
from babylon_tasks.records import Group
from babylon_tasks.registry import earnings, refusals, serving
from babylon_tasks.registry import look_back as rule
from babylon_tasks.registry.promotion_gate import CheckpointFigures
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
    again: bool,
    actor: str,
) -> int:
    """Return to what served before if that is worth more today; returns what serves then.

    ``compared``: what serves, and the held-out set; ``refused``: its head was refused. ``again``:
    not just now, so only what broke off is left to do. Arms have their comparison, which decides.
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
        if drop is not None:
            since = groups_since(connection, settings, drop.since, actor=actor)
    if rule.is_due(row):
        why = f"{row} steps in a row were refused"
        current = _return(settings, trainer, compared, why, on_progress, actor=actor)
    if drop is None or current != compared.serving:
        return current
    if len(since) >= settings.min_eval_groups:
        today = ComparedCheckpoints(compared.head, current, since, held_out.set_hash(since))
        current = _return(
            settings, trainer, today, str(drop), on_progress, since=drop.since, actor=actor
        )
    if current == compared.serving and not again:
        log.warning(
            "profits.dropped",
            why=f"{drop}; nothing that served before is known to be worth more today",
            groups=len(since),
            todo=f"see `babylon-tasks show {drop.since}`; `models rollback` if you know what is",
        )
    return current


def broke_off(connection: Connection, settings: Settings) -> bool:
    """Check whether a look back was due after the last decision and has not seen all it asks for.

    The next step's refusal would be one too many: it is due after so many, not after more.
    """
    lineage = settings.lineage
    latest = promotions.latest(connection, lineage)
    if latest is None or latest.decision is not Decision.HOLD or arms.steps(connection, lineage):
        return False
    serves, set_hash = latest.from_step, latest.figures.get("set_hash")
    if set_hash is None or "refused" not in latest.figures:
        return False
    if not rule.is_due(refusals.count(connection, lineage, serves).refused):
        return False
    parents = lineages.parents(connection, lineage)
    kept = {0, *promotions.servable(connection, lineage)}
    known = evaluations.of_set(connection, lineage, set_hash)
    return not known.keys() >= {serves, *rule.choose_earlier(serves, parents, kept)}


def _nothing_better(
    settings: Settings,
    compared: ComparedCheckpoints,
    known: Mapping[int, CheckpointFigures],
    served: int,
    asked: Sequence[int],
    *,
    anew: bool,
) -> bool:
    found = rule.find_better(
        known[served],
        [known[step] for step in asked],
        held_out.places(compared.groups),
        settings,
        diversity.answers(compared.groups),
        anew=anew,
    )
    return found is None


def _compared_since(
    settings: Settings,
    compared: ComparedCheckpoints,
    known: Mapping[int, CheckpointFigures],
    parents: Parents,
    kept: Set[int],
) -> bool:
    """Check whether nothing was better on these groups than what served when they were compared.

    That may be a parent of what serves now: a worker that is killed before it goes back leaves the
    decision to whoever comes next, and by then another step may have been promoted.
    """
    way = path(compared.serving, parents)
    served = next((step for step in way if step in known), None)
    if served is None:
        return False
    asked = rule.choose_earlier(served, parents, kept)
    seen = [step for step in asked if step in known]
    if asked and not seen:
        return False
    return _nothing_better(settings, compared, known, served, seen, anew=True)


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
        known = on_record(connection, lineage, compared.set_hash)
    asked = rule.choose_earlier(current, parents, kept)
    if since is None:
        settled = known.keys() >= {current, *asked} and _nothing_better(
            settings, compared, known, current, asked, anew=False
        )
    else:
        settled = _compared_since(settings, compared, known, parents, kept)
    if settled:
        return current
    try:
        start_trainer(settings, trainer, actor=actor)
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
