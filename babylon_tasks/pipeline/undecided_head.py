"""Whether there is anything to decide about a lineage's head, whatever the mode."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from babylon_tasks.actions import GateAction
from babylon_tasks.dataset.checkpoint_tree import path
from babylon_tasks.db import lineages, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.decisions import Decision
from babylon_tasks.pipeline.results import GateResult
from babylon_tasks.policy_names import policy_name
from babylon_tasks.registry import branches, promotion_gate
from babylon_tasks.settings import Settings


class UndecidedHead(Struct, frozen=True):
    """The newest checkpoint, and what serves instead of it."""

    head: int
    serving: int
    backend: str


def undecided_head(connection: Connection, settings: Settings) -> UndecidedHead | GateResult:
    """Return the head, or the result of a call that has nothing to decide."""
    lineage = lineages.ensure(connection, settings)
    head, current = lineage.head_step, lineage.serving_step
    if head == current:
        return idle(head, current, "the newest checkpoint serves already")
    parents = lineages.parents(connection, settings.lineage)
    own = set(path(head, parents)) - set(path(current, parents))
    if promotions.was_rolled_back(connection, settings.lineage, *own):
        name = policy_name(settings.lineage, head)
        return idle(
            head,
            current,
            f"{name}, or what it comes from, was rolled back; the next checkpoint is evaluated",
        )
    if branches.is_dead(connection, settings.lineage, head):
        name = policy_name(settings.lineage, head)
        return idle(
            head, current, f"the branch of {name} is dead; the next checkpoint is evaluated"
        )
    return UndecidedHead(head, current, lineage.backend)


def refused_before(
    connection: Connection, settings: Settings, found: UndecidedHead, **figures: Any
) -> GateResult | None:
    """Return the result where this very head was refused last, with these figures among others."""
    latest = promotions.latest(connection, settings.lineage)
    if (
        latest is None
        or latest.decision is not Decision.HOLD
        or (latest.from_step, latest.to_step) != (found.serving, found.head)
        or any(latest.figures.get(name) != value for name, value in figures.items())
        or not promotion_gate.stands(latest.figures, settings)
    ):
        return None
    return idle(found.head, found.serving, f"held before: {latest.reason}", latest.figures)


def idle(head: int, current: int, reason: str, figures: dict[str, Any] | None = None) -> GateResult:
    """Build the result of a call that has decided nothing."""
    return GateResult(GateAction.IDLE, head, current, reason, figures or {})
