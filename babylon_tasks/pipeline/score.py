"""Score one sealed window: read, decode, score, write; all of it or nothing."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime

import structlog
from msgspec import structs
from structlog.contextvars import bind_contextvars

from babylon_tasks import metrics, tracing
from babylon_tasks.db import circuits, windows
from babylon_tasks.db import outcomes as stored_outcomes
from babylon_tasks.db import scoring as claims
from babylon_tasks.db.scoring import Unclaimed
from babylon_tasks.db.session import session
from babylon_tasks.decode import bounded
from babylon_tasks.errors import BabylonTasksError, ScoringFailed, StaleLease
from babylon_tasks.faults import Fault, fault_of
from babylon_tasks.pipeline import circuit
from babylon_tasks.pipeline.patient_write import leave_to_owners
from babylon_tasks.pipeline.release_claim import release_claim
from babylon_tasks.pipeline.results import Scoring
from babylon_tasks.pipeline.scoring_run import Progress, Reports, ScoringRun
from babylon_tasks.scoring.choice import Scorers
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState
from babylon_tasks.training import judge

log = structlog.get_logger(__name__)


def score_window(
    settings: Settings,
    window: str,
    *,
    actor: str,
    on_progress: Progress | None = None,
    on_answer: Progress = lambda *_: None,
) -> Scoring:
    """Score a sealed window; one that is scored already, or claimed by another, is left alone.

    So is any window while the circuit of scoring is open. Copies Babylon's current outcomes first.
    ``on_progress`` gets (rows done, rows expected or None), ``on_answer`` (answers had, answers
    wanted) of a judge. Raises WindowNotFound, StaleLease when the claim was lost meanwhile,
    DatabaseError, or ScoringFailed; after each of them nothing of the run is in the database but
    the event that records it.
    """
    with session(settings) as connection:
        paused = circuit.why_paused(connection, circuits.SCORING, settings)
        if paused is not None:
            state = windows.get(connection, window).state
            return Scoring(window=window, claimed=False, state=state, reason=paused)
    began = datetime.now(UTC)
    try:
        scoring = _score(settings, window, actor, (on_progress, on_answer))
    except Exception as error:
        tracing.record(tracing.Span.SCORE, [window], began=began, error=str(error))
        circuit.count_fault(settings, circuits.SCORING, fault_of(error), str(error))
        raise
    if scoring.claimed:
        tracing.record(
            tracing.Span.SCORE,
            [window],
            began=began,
            state=scoring.state,
            reason=scoring.reason,
            scored=scoring.scored,
        )
        circuit.close(settings, circuits.SCORING)
    return scoring


def _score(settings: Settings, window: str, actor: str, reports: Reports) -> Scoring:
    began = time.monotonic()
    scorers = Scorers(settings)
    if scorers.needs_judge:
        judge.require()
    with session(settings) as connection:
        stored_outcomes.follow(connection, settings)
        leave_to_owners(connection, settings, window)
        owner = f"{actor}/{uuid.uuid4().hex}"
        claimed = claims.claim(connection, window, owner, settings, actor=actor)
    if isinstance(claimed, Unclaimed):
        log.info("window.not_claimed", window=window, state=claimed.state)
        return Scoring(
            window=window, claimed=False, state=claimed.state, reason=_why_unclaimed(claimed)
        )
    bind_contextvars(window=window, attempts=claimed.attempts)
    try:
        with session(settings) as connection:
            result = ScoringRun(settings, connection, claimed, scorers, reports).score(actor)
    except StaleLease:
        raise
    except BabylonTasksError as error:
        release_claim(settings, claimed, str(error), fault_of(error), actor=actor)
        raise
    except Exception as error:
        why, fault = f"{type(error).__name__}: {error}", fault_of(error)
        release_claim(settings, claimed, why, fault, actor=actor)
        raise ScoringFailed(
            f"scoring window {window} failed: {bounded(why)}; its claim is released and it will be "
            f"retried, see `babylon-tasks why {window}`",
            fault=fault,
        ) from error
    except BaseException as error:  # Ctrl-C, a stopping worker
        why = f"interrupted by {type(error).__name__}"
        release_claim(settings, claimed, why, Fault.INTERRUPTED, actor=actor)
        raise
    seconds = time.monotonic() - began
    metrics.WINDOWS_SCORED.labels(result.state).inc()
    metrics.TRAJECTORIES_SCORED.inc(result.scored - result.used)
    for reason, count in result.rejected.items():
        metrics.TRAJECTORIES_REJECTED.labels(reason).inc(count)
    log.info(
        "window.scored",
        window=window,
        state=result.state,
        reason=result.reason,
        scored=result.scored,
        rejected=result.rejected,
        waits_for=result.waits_for,
        seconds=round(seconds, 3),
    )
    return Scoring(window=window, claimed=True, seconds=seconds, **structs.asdict(result))


def _why_unclaimed(window: Unclaimed) -> str | None:
    if window.state == WindowState.OPEN:
        return "not sealed yet: the hour, or its grace period, is not over"
    if window.state == WindowState.SCORING:
        return "claimed by another worker"
    return window.reason
