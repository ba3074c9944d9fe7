"""Evaluate the newest checkpoint on held-out windows; promote or hold it, and record why.

After refusals in a row what served before is looked at too.
"""

from __future__ import annotations

import structlog
from msgspec import structs
from structlog.contextvars import bind_contextvars

from babylon_tasks.actions import GateAction
from babylon_tasks.dataset import diversity, held_out
from babylon_tasks.db import lineages, promotions
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import CannotEvaluate, CheckpointDamaged, TrainerDied, TrainingError
from babylon_tasks.pipeline.checkpoint_figures import ComparedCheckpoints, figures_of
from babylon_tasks.pipeline.compared_groups import held_out_set
from babylon_tasks.pipeline.look_back import look_back
from babylon_tasks.pipeline.record_decision import record_decision
from babylon_tasks.pipeline.results import GateResult
from babylon_tasks.pipeline.start_trainer import find_damaged, start_trainer
from babylon_tasks.pipeline.undecided_head import idle, refused_before, undecided_head
from babylon_tasks.registry import promotion_gate, refusals
from babylon_tasks.registry.promotion_gate import GateDecision
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.protocol import OnProgress
from babylon_tasks.training.step_numbers import numbered
from babylon_tasks.training.trainer_start import TrainerReady

log = structlog.get_logger(__name__)


def evaluate(
    settings: Settings,
    trainer: TrainerLike,
    *,
    actor: str,
    on_progress: OnProgress | None = None,
) -> GateResult:
    """Evaluate the lineage's head; safe to call at any time, alone or concurrently.

    Where evaluation is impossible, the gate gets no values. Where it is only impossible here and
    now (another trainer, a full disk, a damaged checkpoint), nothing is decided and it is tried
    again. Raises TrainerDied, DatabaseError.
    """
    with session(settings) as connection:
        found = undecided_head(connection, settings)
        if isinstance(found, GateResult):
            return found
        head, current = found.head, found.serving
        draw = refusals.count(connection, settings.lineage, current).fives
        groups = held_out_set(connection, settings, actor=actor, draw=draw)
        compared = ComparedCheckpoints(head, current, groups, held_out.set_hash(groups))
        before = refused_before(connection, settings, found, set_hash=compared.set_hash)
    bind_contextvars(lineage=settings.lineage, step=head)
    trainer = numbered(settings, trainer)
    on_progress = on_progress or (lambda _: None)
    if before is not None:  # the look back that belongs to it may have broken off
        return _look_back(settings, trainer, compared, before, on_progress, again=True, actor=actor)
    try:
        if len(groups) >= settings.min_eval_groups:
            require_both(settings, trainer, head, current, actor=actor)
        decision = _decide(settings, trainer, compared, on_progress)
    except TrainerDied:
        raise
    except TrainingError as error:
        log.warning("evaluation.postponed", why=str(error))
        return idle(head, current, f"not evaluated, to be retried: {error}")
    result = record_decision(
        settings,
        decision.decision,
        head=head,
        current=current,
        reason=decision.reason,
        figures=decision.figures | {"set_hash": compared.set_hash},
        actor=actor,
    )
    if result.action is GateAction.IDLE:  # the next call looks back, from what serves by now
        return result
    return _look_back(settings, trainer, compared, result, on_progress, again=False, actor=actor)


def _look_back(
    settings: Settings,
    trainer: TrainerLike,
    compared: ComparedCheckpoints,
    result: GateResult,
    on_progress: OnProgress,
    *,
    again: bool,
    actor: str,
) -> GateResult:
    refused = result.serving != result.candidate and "refused" in result.figures
    served = look_back(
        settings,
        trainer,
        structs.replace(compared, serving=result.serving),
        on_progress,
        refused=refused,
        again=again,
        actor=actor,
    )
    return structs.replace(result, serving=served)


def require_both(settings: Settings, trainer: TrainerLike, *steps: int, actor: str) -> TrainerReady:
    """Raise TrainingError unless this worker has the trainer, and the checkpoints are whole."""
    ready = start_trainer(settings, trainer, actor=actor)
    with session(settings) as connection:
        committed = tuple(lineages.checkpoints(connection, settings.lineage))
    damaged = find_damaged(trainer, committed, *steps)
    if damaged:
        raise CheckpointDamaged("; ".join(damaged.values()))
    return ready


def _decide(
    settings: Settings,
    trainer: TrainerLike,
    compared: ComparedCheckpoints,
    on_progress: OnProgress,
) -> GateDecision:
    if len(compared.groups) < settings.min_eval_groups:
        return promotion_gate.too_few_groups(len(compared.groups), settings)
    with session(settings) as connection:
        before = _earlier(connection, settings, compared.serving)
        committed = tuple(lineages.checkpoints(connection, settings.lineage))
    wanted = {compared.head, compared.serving}
    if before is not None and not find_damaged(trainer, committed, before):
        wanted.add(before)
    try:
        scores = figures_of(settings, trainer, compared, wanted, on_progress)
    except CannotEvaluate as error:
        log.warning("evaluation.failed", error=str(error))
        return promotion_gate.without_evaluation(
            f"no evaluation: {error}", {"groups": len(compared.groups)}, settings
        )
    return promotion_gate.decide(
        scores[compared.head],
        scores[compared.serving],
        None if before is None else scores.get(before),
        held_out.places(compared.groups),
        settings,
        diversity.answers(compared.groups),
    )


def _earlier(connection: Connection, settings: Settings, serving: int) -> int | None:
    """Find the checkpoint that small losses would add up against, if it still exists."""
    parents = lineages.parents(connection, settings.lineage)
    return promotion_gate.earlier(
        serving, parents, promotions.servable(connection, settings.lineage)
    )
