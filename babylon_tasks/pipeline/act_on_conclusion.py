"""Act upon a window's conclusion, in the transaction that records it, under the lineage's lock.

All of it is there, or nothing, and no conclusion is acted upon twice; an event says what was done.
"""

from __future__ import annotations

from uuid import uuid4

import structlog

from babylon_tasks.arms import Arms
from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.next_arms import anchor_of
from babylon_tasks.db import arms, events, lineages
from babylon_tasks.db.comparisons import Comparison
from babylon_tasks.db.session import Connection
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.pipeline.comparison_acts import Acts, Concluded
from babylon_tasks.pipeline.promotion_outlook import backend_of
from babylon_tasks.pipeline.start_comparison import ACTOR, end
from babylon_tasks.registry.comparison_terms import begins_by_itself
from babylon_tasks.registry.promotion_modes import chosen
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)


def act(connection: Connection, settings: Settings, concluded: Concluded) -> str:
    """Act upon a window's conclusion; returns what was done, in words, "" for nothing.

    In the caller's transaction, under the lineage's lock.
    """
    acts = Acts(connection, settings, concluded)
    conclusion = concluded.compared.conclusion
    match conclusion:
        case Conclusion.ROLLBACK | Conclusion.ROLLBACK_AND_PAUSE:
            acts.roll_back()
        case Conclusion.PROVEN | Conclusion.PROVEN_GAIN:
            acts.move_anchor()
        case Conclusion.NEXT_EXAMINEE:
            acts.refuse_examinee()
        case Conclusion.TO_FLOOR:
            acts.serve_what_was_quiet()
        case Conclusion.WITHDRAW:
            acts.serve_what_was_quiet()
            acts.leave_agents_to_anchor()
    if conclusion is Conclusion.ROLLBACK_AND_PAUSE:
        acts.pause()
    acts.draw()
    done = "; ".join(acts.done)
    if done or conclusion is not Conclusion.KEEP:
        events.record(
            connection,
            EventKind.CONCLUDED,
            actor=ACTOR,
            window=concluded.window,
            lineage=settings.lineage,
            detail={
                "comparison": concluded.comparison.id,
                "conclusion": conclusion.value,
                "why": concluded.compared.evidence.reason,
                "done": done or "nothing",
            },
        )
    return done


def lacks_anchor(connection: Connection, settings: Settings, running: Comparison) -> bool:
    """Check whether the control arm was ended, as by a rollback to before the anchor.

    Then nothing is compared. Where comparisons begin by themselves another takes its place
    (``begin_comparison``), elsewhere it is over. In the caller's transaction, under the
    lineage's lock.
    """
    lineage = settings.lineage
    newest = arms.since(connection, lineage, arms.this_hour(connection))
    if newest and anchor_of(newest[-1]) is not None:
        return False
    row = lineages.get(connection, lineage)
    backend = backend_of(settings, "auto" if row is None else row.backend)
    if not settings.compare or not begins_by_itself(chosen(settings, backend)[0]):
        why = "the anchor's arm was ended, so nothing can be compared with it"
        end(connection, lineage, running, reason=why, actor=ACTOR)
        ended = Arms(from_window=arms.this_hour(connection), salt=uuid4().hex)
        arms.begin(connection, lineage, ended)
        log.warning("comparison.ended", lineage=lineage, comparison=running.id, why=why)
    return True
