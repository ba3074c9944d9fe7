"""A lineage's first comparison begins by itself, once agents can be compared.

What has ended is never begun again: an operator has ended it, or a conclusion that needs one. But
where the anchor's arm was ended, because its branch is dead, another comparison takes its place.
"""

from __future__ import annotations

from uuid import uuid4

import structlog
from msgspec import Struct

from babylon_tasks.arms import Arms
from babylon_tasks.db import arms, comparisons, lineages, promotions
from babylon_tasks.db.comparisons import Comparison
from babylon_tasks.db.lineages import Lineage
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.comparison_figures import figures_of
from babylon_tasks.pipeline.promotion_outlook import backend_of
from babylon_tasks.pipeline.start_comparison import ACTOR, begin, end
from babylon_tasks.registry.comparison_terms import (
    Impediment,
    begins_by_itself,
    impediment,
    terms,
)
from babylon_tasks.registry.promotion_modes import chosen
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)


class ComparisonOutlook(Struct, frozen=True):
    """Where a lineage's comparison stands before there is evidence: ``text`` in one line.

    ``lacks``: what keeps one from beginning by itself.
    """

    newest: Comparison | None
    text: str
    lacks: Impediment | None = None


def comparison_outlook(connection: Connection, settings: Settings) -> ComparisonOutlook:
    """Look at the settings, the newest comparison, and what agents asked."""
    lineage = lineages.get(connection, settings.lineage)
    newest = None if lineage is None else comparisons.newest(connection, settings.lineage)
    nothing, begins = "none", "begins with the next upkeep"
    if newest is not None and newest.ended_at is None:
        figures = figures_of(connection, settings.lineage, newest)
        if _is_there(connection, settings.lineage):
            return ComparisonOutlook(newest, figures.text)
        lost = f"comparison {newest.id} has lost its anchor {figures.anchor}"
        nothing = f"{lost}, and no other takes its place"
        begins = f"{lost}; the next upkeep begins another"
    by_hand = "`babylon-tasks compare start` begins one"
    if newest is not None and newest.ended_at is not None:
        return ComparisonOutlook(
            newest,
            f"none: comparison {newest.id} was ended by {newest.ended_by} at "
            f"{newest.ended_at:%F %T}: {newest.ended_why}; {by_hand}",
        )
    mode, why = chosen(
        settings, backend_of(settings, "auto" if lineage is None else lineage.backend)
    )
    if not begins_by_itself(mode):
        return ComparisonOutlook(newest, f"{nothing}: promotion is {mode} ({why}); {by_hand}")
    lacks = impediment(settings, comparisons.asking(connection, settings.lineage))
    if lacks is None:
        return ComparisonOutlook(newest, begins)
    waits = newest is None and _waits(settings)
    until = f"; until then {settings.anchor_model} answers all" if waits else ""
    return ComparisonOutlook(newest, f"{nothing}: {lacks.text}; {lacks.todo}{until}", lacks)


def begin_by_itself(connection: Connection, settings: Settings) -> Comparison | None:
    """Begin a comparison where one can; idempotent, safe from any number of callers."""
    lineage = lineages.get(connection, settings.lineage)
    if lineage is None or _is_there(connection, lineage.name):
        return None
    mode, _ = chosen(settings, backend_of(settings, lineage.backend))
    waits = begins_by_itself(mode) and _waits(settings)
    wanted = settings.anchor_model if waits else None
    asking = comparisons.asking(connection, lineage.name) if begins_by_itself(mode) else None
    begins = asking is not None and impediment(settings, asking) is None
    if not begins and not _answers_otherwise(connection, lineage.name, wanted):
        return None  # without the lineage's lock: as in most minutes
    with connection.transaction():
        promotions.lock(connection, lineage.name)
        if _is_there(connection, lineage.name):  # another has begun it meanwhile
            return None
        if asking is None or not begins:
            _answer_by(connection, lineage.name, wanted)
            return None
        agents = asking.asking
        begun = _begin(connection, settings, lineage, agents)
    log.info(
        "comparison.started",
        lineage=lineage.name,
        comparison=begun.id,
        anchor=begun.anchor_model or begun.anchor_step,
        since=begun.began_window,
    )
    return begun


def _begin(connection: Connection, settings: Settings, lineage: Lineage, agents: int) -> Comparison:
    before = comparisons.running(connection, lineage.name)
    if before is not None:
        why = "the anchor's branch is dead, so its arm was ended"
        end(connection, lineage.name, before, reason=why, actor=ACTOR)
    model = settings.anchor_model
    if model is not None and comparisons.has_proven(connection, lineage.name):
        model = None
    serving = promotions.lock(connection, lineage.name)  # by now it may be another
    return begin(
        connection,
        lineage.name,
        terms(
            settings,
            agents,
            comparisons.trials(connection, lineage.name),
            external=model is not None,
        ),
        anchor_step=serving if model is None else None,
        anchor_model=model,
        examinee_step=None,
        actor=ACTOR,
    )


def _is_there(connection: Connection, lineage: str) -> bool:
    """Check whether there is nothing to begin: one runs, with its anchor, or one was ended."""
    newest = comparisons.newest(connection, lineage)
    if newest is None or newest.ended_at is not None:
        return newest is not None
    drawn = _drawn(connection, lineage)
    return drawn is not None and drawn.control_share > 0


def _drawn(connection: Connection, lineage: str) -> Arms | None:
    found = arms.since(connection, lineage, arms.this_hour(connection))
    return found[-1] if found else None


def _waits(settings: Settings) -> bool:
    return settings.compare and settings.anchor_model is not None


def _answers_otherwise(connection: Connection, lineage: str, model: str | None) -> bool:
    """Check whether, before the first comparison, not what is wanted answers all agents."""
    if comparisons.newest(connection, lineage) is not None:
        return False
    drawn = _drawn(connection, lineage)
    return model != (None if drawn is None else drawn.control_model)


def _answer_by(connection: Connection, lineage: str, model: str | None) -> None:
    """Let the anchor answer all agents, or again what serves."""
    if not _answers_otherwise(connection, lineage, model):
        return
    arms.begin(
        connection,
        lineage,
        Arms(
            from_window=arms.this_hour(connection),
            salt=uuid4().hex,
            control_share=0.0 if model is None else 1.0,
            control_model=model,
        ),
    )
    log.info("arms.changed", lineage=lineage, control=model, share=0 if model is None else 1)
