"""Write the decision about a head, with what follows from it, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from babylon_tasks.actions import GateAction
from babylon_tasks.db.session import session
from babylon_tasks.decisions import Decision
from babylon_tasks.pipeline.results import GateResult
from babylon_tasks.pipeline.undecided_head import idle
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)


def record_decision(
    settings: Settings,
    decision: Decision,
    *,
    head: int,
    current: int,
    reason: str,
    figures: Mapping[str, Any],
    actor: str,
) -> GateResult:
    """Promote the head or refuse to, unless another checkpoint than ``current`` serves by now."""
    known = dict(figures)
    promotes = decision is Decision.PROMOTE
    decide = serving.promote if promotes else serving.hold
    with session(settings) as connection:
        decided = decide(
            connection,
            settings.lineage,
            head,
            reason=reason,
            figures=known,
            actor=actor,
            instead_of=current,
        )
    if not decided:
        why = (
            f"another checkpoint than {current} serves by now, or the branch of {head} is dead; "
            "the next call evaluates again"
        )
        return idle(head, current, why, known)
    if promotes:
        log.info("checkpoint.promoted", serving=head, reason=reason)
        return GateResult(GateAction.PROMOTED, head, head, reason, known)
    log.info("checkpoint.held", serving=current, reason=reason)
    return GateResult(GateAction.HELD, head, current, reason, known)
