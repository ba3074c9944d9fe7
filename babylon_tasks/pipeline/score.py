"""Score one sealed window: read, decode, score, write; all of it or nothing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import closing

import msgspec
import structlog
from msgspec import Struct

from babylon_tasks import metrics
from babylon_tasks.db import scoring as claims
from babylon_tasks.db.outcomes import OutcomeBook
from babylon_tasks.db.scoring import Claim, Result, Standing
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.spool import Spool, field
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import bounded, decode
from babylon_tasks.errors import BabylonTasksError, Fenced, ScoringFailed
from babylon_tasks.log import now_about
from babylon_tasks.pipeline.tally import Tally
from babylon_tasks.records import Outcomes, RawTrajectory, Rejection, Trajectory
from babylon_tasks.scoring.base import Scorer, load_scorer
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState

Progress = Callable[[int, int | None], None]
log = structlog.get_logger(__name__)


class Scoring(Struct, frozen=True):
    """What ``score_window`` did, or why it did nothing (``claimed`` is False)."""

    window: str
    state: WindowState
    claimed: bool
    reason: str | None = None
    trajectories: int = 0
    agents: int = 0
    scored: int = 0
    rejected: dict[str, int] = {}
    reward_mean: float | None = None
    seconds: float = 0.0


def score_window(
    settings: Settings, window: str, *, actor: str, on_progress: Progress | None = None
) -> Scoring:
    """Score a sealed window, once: a window already scored, or in other hands, is left alone.

    ``on_progress`` gets (rows done, rows expected or None). Raises WindowNotFound, Fenced when
    the claim was lost on the way, DatabaseUnavailable, or ScoringFailed; after each of them
    nothing of the run is in the database but the event that tells of it.
    """
    began = time.monotonic()
    scorer = load_scorer(settings)
    with session(settings) as connection:
        owner = f"{actor}/{uuid.uuid4().hex}"
        held = claims.claim(connection, window, owner, settings, actor=actor)
    if isinstance(held, Standing):
        log.info("score_window.not_claimed", window=window, state=held.state)
        return Scoring(window, held.state, claimed=False, reason=_unclaimed(held))
    now_about(window=window, attempt=held.attempt)
    try:
        with session(settings) as connection:
            result = _Run(settings, connection, held, scorer, on_progress).score(actor)
    except Fenced:
        raise
    except BabylonTasksError as error:
        _give_back(settings, held, str(error), actor)
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        _give_back(settings, held, why, actor)
        raise ScoringFailed(
            f"scoring window {window} failed: {bounded(why)}; its claim is given back and will be "
            f"tried again, see `babylon-tasks why {window}`"
        ) from error
    except BaseException as error:  # Ctrl-C, a worker told to stop
        _give_back(settings, held, f"interrupted by {type(error).__name__}", actor)
        raise
    seconds = time.monotonic() - began
    metrics.WINDOWS_SCORED.labels(result.state).inc()
    metrics.TRAJECTORIES_SCORED.inc(result.scored)
    for reason, count in result.rejected.items():
        metrics.TRAJECTORIES_REJECTED.labels(reason).inc(count)
    log.info(
        "score_window.done",
        window=window,
        state=result.state,
        reason=result.reason,
        scored=result.scored,
        rejected=result.rejected,
        seconds=round(seconds, 3),
    )
    return Scoring(
        window=window,
        state=result.state,
        claimed=True,
        reason=result.reason,
        trajectories=result.trajectories,
        agents=result.agents,
        scored=result.scored,
        rejected=result.rejected,
        reward_mean=result.reward_mean,
        seconds=seconds,
    )


class _Run:
    """One attempt: everything is collected aside and written at its end, behind the fence."""

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        held: Claim,
        scorer: Scorer,
        on_progress: Progress | None,
    ) -> None:
        self.settings = settings
        self.connection = connection
        self.held = held
        self.scorer = scorer
        self.on_progress = on_progress
        self.tally = Tally()
        self.renewed = time.monotonic()

    def score(self, actor: str) -> Result:
        held, scorer = self.held, self.scorer
        version = held.reward_version
        with (
            Spool(version, held.window, scorer.name, scorer.version) as scores,
            Spool(version, held.window) as rejections,
        ):
            # A connection of its own: this one stays free for outcomes and for the lease.
            with (
                session(self.settings) as reading,
                closing(stream_window(reading, held.window, self.settings)) as batches,
            ):
                book = OutcomeBook(self.connection, held.window)
                for batch in batches:
                    trajectories = self._decoded(batch, rejections)
                    self._scored(trajectories, book.covering(trajectories), scores, rejections)
                    self._between_batches()
            result = self.tally.result(self.settings, held_out=held.held_out)
            claims.finish(self.connection, held, result, scores, rejections, actor)
        return result

    def _decoded(self, batch: list[RawTrajectory], rejections: Spool) -> list[Trajectory]:
        trajectories: list[Trajectory] = []
        for raw in batch:
            decoded = decode(raw)
            if isinstance(decoded, Rejection):
                self._reject(decoded, rejections)
            else:
                trajectories.append(decoded)
        return trajectories

    def _scored(
        self,
        trajectories: list[Trajectory],
        outcomes: Outcomes,
        scores: Spool,
        rejections: Spool,
    ) -> None:
        window = self.held.window
        score, add, encode = self.scorer.score, self.tally.add, msgspec.json.encode
        for trajectory in trajectories:
            scored = score(trajectory, outcomes)
            if isinstance(scored, Rejection):
                self._reject(scored, rejections)
                continue
            # Babylon's recorder names the window itself as the scenario: then they are one group.
            scenario = trajectory.scenario_id
            group = "" if scenario is None or scenario == window else scenario
            add(trajectory.agent_id, group, scored.reward)
            scores.add(
                f"{field(trajectory.trajectory_id)}\t{field(trajectory.agent_id)}\t{field(group)}"
                f"\t{scored.reward!r}\t{field(encode(scored.components).decode())}"
            )

    def _reject(self, rejection: Rejection, rejections: Spool) -> None:
        self.tally.rejected[rejection.reason] += 1
        rejections.add(
            f"{field(rejection.trajectory_id)}\t{rejection.stage}\t{rejection.reason}"
            f"\t{field(rejection.detail)}"
        )

    def _between_batches(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.tally.trajectories, self.held.expected)
        if time.monotonic() - self.renewed > self.settings.lease_seconds / 3:
            claims.renew(self.connection, self.held, self.settings)
            self.renewed = time.monotonic()


def _give_back(settings: Settings, held: Claim, why: str, actor: str) -> None:
    try:
        with session(settings) as connection:
            state = claims.release(connection, held, bounded(why), settings, actor=actor)
        log.warning("score_window.given_back", window=held.window, state=state, why=bounded(why))
    except BabylonTasksError as error:
        # The first error is the one to raise; without a release the lease runs out by itself.
        log.warning("score_window.not_given_back", window=held.window, why=str(error))


def _unclaimed(standing: Standing) -> str | None:
    if standing.state == WindowState.OPEN:
        return "not sealed yet: the hour, or its grace period, is not over"
    if standing.state == WindowState.SCORING:
        return "held by another worker"
    return standing.reason
