"""A training step, then the gate's decision: what a gpu-worker's task and ``train`` both do."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from babylon_tasks import metrics
from babylon_tasks.actions import GateAction, TrainAction
from babylon_tasks.db import circuits, lineages, promotions
from babylon_tasks.db.session import session
from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.faults import fault_of
from babylon_tasks.pipeline import circuit, look_back
from babylon_tasks.pipeline.decide_head import decide_head
from babylon_tasks.pipeline.prune_checkpoints import prune_checkpoints
from babylon_tasks.pipeline.results import GateResult, TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import refusals
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.protocol import OnProgress

log = structlog.get_logger(__name__)

_TRAINED = (TrainAction.COMMITTED, TrainAction.ADOPTED)


def train_and_evaluate(
    settings: Settings,
    trainer: TrainerLike,
    *,
    window: str | None,
    actor: str,
    on_training: OnProgress,
    on_evaluation: OnProgress,
    on_begin: Callable[[], None] = lambda: None,
) -> tuple[TrainOutcome, GateResult | None]:
    """Train as ``train_window`` does, then decide about the head.

    One that a killed worker has left undecided is decided about before: its hours would count for
    nothing if the next step were planned beside it. Old checkpoints are pruned at the end.

    Without a decision where the step failed, the lineage's circuit is open, or another worker is
    at work: the owner of the lease decides. Raises what ``train_window`` and ``decide_head`` raise.
    """
    name = circuits.training(settings.lineage)
    with session(settings) as connection:
        paused = circuit.why_paused(connection, name, settings)
    if paused is not None:
        return TrainOutcome(TrainAction.PAUSED, reason=paused), None
    try:
        before = _decide_again(settings, trainer, actor=actor, on_progress=on_evaluation)
        outcome = train_window(
            settings,
            trainer,
            window=window,
            actor=actor,
            on_progress=on_training,
            on_begin=on_begin,
        )
        if outcome.fault is not None:
            circuit.count_fault(settings, name, outcome.fault, outcome.reason or "")
        elif outcome.action in _TRAINED:
            circuit.close(settings, name)
        if outcome.action in (TrainAction.BUSY, TrainAction.FAILED):
            return outcome, None
        gate_result = decide_head(settings, trainer, actor=actor, on_progress=on_evaluation)
        if gate_result.action is GateAction.IDLE and before is not None:
            gate_result = before
    except Exception as error:
        circuit.count_fault(settings, name, fault_of(error), str(error))
        raise
    metrics.EVALUATIONS.labels(settings.lineage, gate_result.action).inc()
    if outcome.action in _TRAINED and window not in (None, *outcome.windows):
        return train_and_evaluate(  # an unfinished step came first
            settings,
            trainer,
            window=window,
            actor=actor,
            on_training=on_training,
            on_evaluation=on_evaluation,
            on_begin=on_begin,
        )
    _prune(settings, trainer, actor=actor)
    return outcome, gate_result


def _decide_again(
    settings: Settings, trainer: TrainerLike, *, actor: str, on_progress: OnProgress
) -> GateResult | None:
    """Decide about a head before it is given up: one without a decision, or a refused one where
    only held-out windows are new, or where looking back has broken off. None: there is none, or
    another worker is at work."""
    with session(settings) as connection:
        if lineages.ensure(connection, settings).leased:
            return None
        undecided = promotions.head_is_unevaluated(connection, settings, for_seconds=0)
        found = refusals.news(connection, settings.lineage)
        broke_off = look_back.broke_off(connection, settings)
    if undecided or broke_off or (found is not None and found.held_out and not found.windows):
        return decide_head(settings, trainer, actor=actor, on_progress=on_progress)
    return None


def _prune(settings: Settings, trainer: TrainerLike, *, actor: str) -> None:
    try:
        prune_checkpoints(settings, lambda: trainer, actor=actor)
    except (BabylonTasksError, OSError) as error:  # the step counts all the same
        log.warning("checkpoints.not_pruned", why=str(error))
