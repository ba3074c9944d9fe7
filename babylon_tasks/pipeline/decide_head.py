"""Decide about the newest checkpoint as the mode of promotion says."""

from __future__ import annotations

import structlog
from structlog.contextvars import bind_contextvars

from babylon_tasks.db import arms
from babylon_tasks.db.session import session
from babylon_tasks.decisions import Decision, RefusalKind
from babylon_tasks.errors import NotInstalled, TrainerDied, TrainingError
from babylon_tasks.pipeline.evaluate import evaluate, require_both
from babylon_tasks.pipeline.promotion_outlook import backend_of
from babylon_tasks.pipeline.record_decision import record_decision
from babylon_tasks.pipeline.results import GateResult
from babylon_tasks.pipeline.screen import screen
from babylon_tasks.pipeline.undecided_head import (
    UndecidedHead,
    idle,
    refused_before,
    undecided_head,
)
from babylon_tasks.registry.promotion_modes import PromotionMode, chosen
from babylon_tasks.registry.screen_rule import ScreenResult
from babylon_tasks.registry.serving import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.ask_policies import PolicyServer
from babylon_tasks.training.base import TrainerLike
from babylon_tasks.training.protocol import OnProgress
from babylon_tasks.training.step_numbers import numbered

log = structlog.get_logger(__name__)


def decide_head(
    settings: Settings,
    trainer: TrainerLike,
    *,
    actor: str,
    on_progress: OnProgress | None = None,
) -> GateResult:
    """Promote the lineage's head, refuse to, or decide nothing yet; safe to call at any time.

    What cannot be looked at here and now is tried again, and no mode stands in for another.
    Raises TrainerDied, DatabaseError.
    """
    with session(settings) as connection:
        found = undecided_head(connection, settings)
    if isinstance(found, GateResult):
        return found
    mode, why = chosen(settings, backend_of(settings, found.backend))
    match mode:
        case PromotionMode.EVALUATED:
            return evaluate(settings, trainer, actor=actor, on_progress=on_progress)
        case PromotionMode.MANUAL:
            return _leave_to_the_operator(settings, found, why, actor=actor)
        case PromotionMode.SCREENED | PromotionMode.PROVEN:
            return _screened(settings, trainer, found, mode, actor=actor, on_progress=on_progress)


def _leave_to_the_operator(
    settings: Settings, found: UndecidedHead, why: str, *, actor: str
) -> GateResult:
    figures = {"mode": PromotionMode.MANUAL.value, "refused": False}
    with session(settings) as connection:
        before = refused_before(connection, settings, found, **figures)
    if before is not None:
        return before
    return record_decision(
        settings,
        Decision.HOLD,
        head=found.head,
        current=found.serving,
        reason=f"{why}: `babylon-tasks models promote {found.head}` lets it serve",
        figures=figures,
        actor=actor,
    )


def _screened(
    settings: Settings,
    trainer: TrainerLike,
    found: UndecidedHead,
    mode: PromotionMode,
    *,
    actor: str,
    on_progress: OnProgress | None,
) -> GateResult:
    head = found.head
    bind_contextvars(lineage=settings.lineage, step=head)
    try:
        server = _server(settings, trainer, found, actor=actor)
        ended = screen(settings, server, head, actor=actor, on_progress=on_progress)
    except TrainerDied:
        raise
    except (TrainingError, NotInstalled) as error:
        log.warning("screen.postponed", why=str(error))
        return idle(head, found.serving, f"not screened, to be retried: {error}")
    result, reason = ScreenResult(ended.result or ""), ended.reason or ""
    if result is ScreenResult.TOO_FEW:
        return idle(head, found.serving, f"not screened, more is needed: {reason}")
    refused = result is ScreenResult.REFUSED
    with session(settings) as connection:
        # On a ramp, its share of the agents is what a step has to win.
        on_ramp = arms.anchor_is_external(connection, settings.lineage)
        promotes = not refused and (mode is PromotionMode.SCREENED or on_ramp)
        before = refused_before(connection, settings, found, screen=ended.id, mode=mode.value)
    if before is not None and not promotes:
        return before
    if not refused and not promotes:
        reason = (
            f"{reason}; it waits for its trial against the anchor: "
            f"`babylon-tasks models promote {head}` lets it serve without one"
        )
    figures = {
        **(ended.figures or {}),
        "screen": ended.id,
        "mode": mode.value,
        "refused": refused and RefusalKind.HARM,
    }
    return record_decision(
        settings,
        Decision.PROMOTE if promotes else Decision.HOLD,
        head=head,
        current=ended.serving_step,
        reason=f"{'refused ' if refused else ''}{reason}",
        figures=figures,
        actor=actor,
    )


def _server(
    settings: Settings, trainer: TrainerLike, found: UndecidedHead, *, actor: str
) -> PolicyServer:
    """Return where both checkpoints are asked, once both are whole.

    Raises TrainingError unless this worker has the trainer.
    """
    ready = require_both(
        settings, numbered(settings, trainer), found.head, found.serving, actor=actor
    )
    with session(settings) as connection:
        serves = serving(connection, settings.lineage)
    return PolicyServer(ready.own_url or ready.base_url, serves.api_key(settings))
