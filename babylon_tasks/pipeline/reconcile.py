"""Restart what has stopped: lost messages, dead workers, late rows, windows to be scored anew."""

from __future__ import annotations

import structlog

from babylon_tasks import metrics
from babylon_tasks.actions import ReconcileAction
from babylon_tasks.db import (
    abandoned_sessions,
    due_windows,
    expired_claims,
    late_rows,
    lineages,
    promotions,
    publication,
    reward_versions,
    step_windows,
)
from babylon_tasks.db.session import Connection, session
from babylon_tasks.pipeline.begin_comparison import begin_by_itself
from babylon_tasks.pipeline.compare import compare
from babylon_tasks.pipeline.live_lineages import other_lineages
from babylon_tasks.pipeline.patient_write import leave_to_owners
from babylon_tasks.pipeline.results import Reconciled
from babylon_tasks.pipeline.windows_to_train import pick_to_train
from babylon_tasks.reasons import Reason
from babylon_tasks.registry import budget
from babylon_tasks.settings import Settings

# Limits of one call; where one is met, the next call follows at once.
RELEASE_LIMIT = 100
SCORE_ANEW_LIMIT = 50
ENQUEUE_LIMIT = 100
CLOSE_LIMIT = 50

log = structlog.get_logger(__name__)


def reconcile(settings: Settings, *, actor: str) -> Reconciled:
    """Run one round; bounded, idempotent, safe from any number of callers.

    A training step whose worker is gone is only listed (in ``to_train``, by one of its windows):
    the next claimant of the lineage recovers it, under its lease.
    """
    with session(settings) as connection:
        abandoned_sessions.terminate(connection, settings)  # first: their locks stop the rest
        leave_to_owners(connection, settings)
        with connection.transaction():
            released, failed = expired_claims.release_expired(
                connection, settings, limit=RELEASE_LIMIT, actor=actor
            )
        with connection.transaction():
            late = late_rows.reject_late(
                connection, settings, limit=late_rows.LATE_WINDOWS, actor=actor
            )
        with connection.transaction():
            anew = reward_versions.seal_again(
                connection, settings, limit=SCORE_ANEW_LIMIT, actor=actor
            )
        with connection.transaction():
            step_windows.close_unawaited(connection, limit=CLOSE_LIMIT, actor=actor)
        with connection.transaction():
            to_score = due_windows.pick_to_score(connection, settings, limit=ENQUEUE_LIMIT)
            to_train = pick_to_train(connection, settings, limit=ENQUEUE_LIMIT)
        unevaluated = promotions.head_is_unevaluated(connection, settings)
        _align_what_babylon_reads(connection, settings.lineage)
        besides = other_lineages(connection, settings)
        others = {name: _restart(connection, theirs) for name, theirs in besides.items()}
        for theirs in (settings, *besides.values()):
            _note_budget(connection, theirs, actor)
        concluded = [
            text
            for theirs in (settings, *besides.values())
            for text in _compare(connection, theirs)
        ]
    counted = {
        ReconcileAction.CLAIM_RELEASED: len(released),
        ReconcileAction.WINDOW_FAILED: len(failed),
        ReconcileAction.LATE_REJECTED: late,
        ReconcileAction.SENT_TO_SCORE: len(to_score),
        ReconcileAction.SENT_TO_TRAIN: len(to_train)
        + sum(window is not None for sent in others.values() for window in sent),
        ReconcileAction.SENT_TO_EVALUATE: int(unevaluated)
        + sum(None in sent for sent in others.values()),
        ReconcileAction.SEALED_ANEW: len(anew),
    }
    for action, count in counted.items():
        metrics.RECONCILE_ACTIONS.labels(action).inc(count)
    metrics.TRAJECTORIES_REJECTED.labels(Reason.LATE).inc(late)
    return Reconciled(
        released=released,
        failed=failed,
        late=late,
        to_score=to_score,
        to_train=to_train,
        unevaluated=unevaluated,
        anew=anew,
        others={name: found for name, found in others.items() if found},
        concluded=concluded,
        more=len(released) + len(failed) >= RELEASE_LIMIT or len(anew) >= SCORE_ANEW_LIMIT,
    )


def _restart(connection: Connection, settings: Settings) -> list[str | None]:
    """Do for another lineage what is done for the settings'."""
    with connection.transaction():
        to_train = pick_to_train(connection, settings, limit=ENQUEUE_LIMIT)
    unevaluated = promotions.head_is_unevaluated(connection, settings)
    _align_what_babylon_reads(connection, settings.lineage)
    return [*to_train, *([None] if unevaluated else [])]


def _note_budget(connection: Connection, settings: Settings, actor: str) -> None:
    if lineages.get(connection, settings.lineage) is not None:
        budget.note(connection, settings, actor=actor)


def _compare(connection: Connection, settings: Settings) -> list[str]:
    begin_by_itself(connection, settings)
    taken = compare(connection, settings)
    return [f"{one.conclusion} from {one.window}" for one in taken if one.is_news]


def _align_what_babylon_reads(connection: Connection, lineage: str) -> None:
    # Babylon's own automation may have written a newer model, or marked one of ours.
    if lineages.get(connection, lineage) is None:
        return
    with connection.transaction():
        promotions.lock(connection, lineage)
        rows = publication.align_models(connection, lineage)
    if rows:
        log.warning(
            "trained_models.repaired",
            lineage=lineage,
            rows=rows,
            todo="`babylon-tasks doctor` shows whether Babylon's own training runs",
        )
