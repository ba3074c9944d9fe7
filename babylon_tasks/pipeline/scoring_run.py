"""One attempt at scoring a window: its rows are read, decoded, rewarded, and written together."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress

import msgspec
from msgspec import Struct, structs

from babylon_tasks.db import events
from babylon_tasks.db import scoring as claims
from babylon_tasks.db.outcomes import OutcomeBook
from babylon_tasks.db.scoring import Bet, Claim, ScoreRow
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.spool import Spool
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import content_hash, decode, decode_facts, facts_of
from babylon_tasks.errors import DatabaseError
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.pipeline.rewards import WindowRewards
from babylon_tasks.pipeline.window_summary import WindowSummary
from babylon_tasks.reasons import Reason, Stage
from babylon_tasks.records import (
    Facts,
    Outcome,
    Outcomes,
    RawTrajectory,
    Rejection,
    ScoringResult,
    Trajectory,
)
from babylon_tasks.scoring.choice import Scorers
from babylon_tasks.scoring.evidence import activity, evidence_and_bets, named
from babylon_tasks.settings import Settings

Progress = Callable[[int, int | None], None]
Reports = tuple[Progress | None, Progress]  # of rows, of a judge's answers
_MARKETS = 10_000  # of one window's bets; a hostile window must not fill memory
_NO_EVIDENCE = "no known profit, no bet with a known outcome, nothing that failed"


class _ReadRow(Struct, frozen=True, gc=False):
    """A trajectory that can be scored once all have been read."""

    trajectory_id: str
    agent_id: str
    content_hash: str


class ScoringRun:
    """One attempt: its results are collected in files and written at the end, if it has the claim.

    Trajectories can only be compared once all have been read, so their evidence is kept; their
    text is not.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        claimed: Claim,
        scorers: Scorers,
        reports: Reports,
    ) -> None:
        self.settings = settings
        self.connection = connection
        self.claimed = claimed
        self.on_progress, self.on_answer = reports
        # They keep the reward that they were used with, but the others are compared with them, and
        # they with the others: arms of agents must not be rewarded by different outcomes.
        self.used = (
            claims.consumed(connection, claimed.window)
            if claimed.reward_version > 1
            else frozenset()
        )
        self.summary = WindowSummary(len(self.used))
        self.whole = scorers.needs_judge
        known = claims.grades(connection, claimed.window) if self.whole else {}
        self.window_rewards = WindowRewards(settings, claimed.window, scorers, known)
        self.bets: dict[Bet, Outcome] = {}
        self.unknown: set[Bet] = set()  # one for each bet of which no name has an outcome
        self.named: set[tuple[str | None, str | None]] = set()
        self.details: dict[tuple[Stage, Reason], str | None] = {}  # the last of each kind
        self.renewed = time.monotonic()

    def score(self, actor: str) -> ScoringResult:
        claimed, settings = self.claimed, self.settings
        version = claimed.reward_version
        with (
            Spool(_ReadRow) as read,
            Spool(ScoreRow, reward_version=version, window_id=claimed.window) as scores,
            Spool(Rejection, reward_version=version, window_id=claimed.window) as rejections,
            self.window_rewards,
        ):
            # A connection of its own: this one stays free for outcomes and for the lease.
            with (
                session(settings) as reading,
                closing(
                    stream_window(reading, claimed.window, settings, used=bool(self.used))
                ) as batches,
            ):
                book = OutcomeBook(self.connection, claimed.window)
                for batch in batches:
                    decoded = self._decoded(batch, rejections)
                    outcomes = book.covering([facts for facts, _, _ in decoded])
                    for facts, content, whole in decoded:
                        self._collect(facts, content, whole, outcomes, read)
                    self._between_batches()
            self._reward(read, scores, rejections, actor)
            unknown = len(self.unknown)
            waits = unknown > 0 and claims.may_wait(self.connection, claimed.window, settings)
            result = self.summary.result(
                settings, held_out=claimed.held_out, waits_for=unknown if waits else 0
            )
            claims.finish(
                self.connection, claimed, result, scores, rejections, self.bets, settings, actor
            )
        return result

    def _decoded(
        self, batch: list[RawTrajectory], rejections: Spool[Rejection]
    ) -> list[tuple[Facts, str, Trajectory | None]]:
        """Decode a batch and hash it; only a judge needs trajectories whole."""
        decoded: list[tuple[Facts, str, Trajectory | None]] = []
        for raw in batch:
            if raw.trajectory_id in self.used:  # Babylon's mark is ours
                raw = structs.replace(raw, already_used=False)
            found = decode(raw) if self.whole else decode_facts(raw)
            if isinstance(found, Rejection):
                self._reject(found, rejections)
            elif isinstance(found, Trajectory):
                decoded.append((facts_of(found), content_hash(raw), found))
            else:
                decoded.append((found, content_hash(raw), None))
        return decoded

    def _collect(
        self,
        facts: Facts,
        content: str,
        whole: Trajectory | None,
        outcomes: Outcomes,
        read: Spool[_ReadRow],
    ) -> None:
        evidence, bets = evidence_and_bets(facts, outcomes)
        self.summary.add_evidence(evidence)
        self.window_rewards.add(facts, evidence, content, whole)
        for bet in bets:
            names = bet.market_id, bet.ticker
            if names not in self.named and len(self.named) < _MARKETS:
                self.named.add(names)
                found = {Bet(kind, name): known for kind, name, known in named(bet, outcomes)}
                self.bets |= found
                if all(known == Outcome() for known in found.values()):
                    self.unknown |= set(list(found)[:1])
        read.add(_ReadRow(facts.trajectory_id, facts.agent_id, content))

    def _reward(
        self,
        read: Spool[_ReadRow],
        scores: Spool[ScoreRow],
        rejections: Spool[Rejection],
        actor: str,
    ) -> None:
        """Compare the members of each group; write the results in the order of reading."""
        window_rewards = self.window_rewards
        try:
            rewards = window_rewards.rewards(self._keep_claim, self.on_answer)
        except BaseException:  # a lost claim, a stopping worker: what is answered is paid for
            if window_rewards.judge_report is not None and window_rewards.judge_report.answers:
                with suppress(DatabaseError):
                    self._note_answers(actor)
            raise
        self._note_answers(actor)
        encode = msgspec.json.encode
        for row, one, facts in zip(read, rewards, window_rewards.evidence, strict=True):
            if one.score is None:
                rejection = Rejection(
                    row.trajectory_id, Stage.SCORE, Reason.NO_EVIDENCE, _NO_EVIDENCE
                )
                self._reject(rejection, rejections)
                continue
            self.summary.add(
                row.agent_id,
                one.group,
                one.score.reward,
                activity(facts),
                used=row.trajectory_id in self.used,
            )
            scores.add(
                ScoreRow(
                    trajectory_id=row.trajectory_id,
                    agent_id=row.agent_id,
                    content_hash=row.content_hash,
                    group_key=one.group,
                    reward=one.score.reward,
                    components=encode(one.score.components).decode(),
                    scorer=one.scorer,
                    scorer_version=one.version,
                )
            )

    def _note_answers(self, actor: str) -> None:
        """Record what the judge was asked, even if this attempt fails: it has been paid."""
        found = self.window_rewards.judge_report
        if found is not None:
            window, detail = self.claimed.window, structs.asdict(found)
            events.record(
                self.connection, EventKind.JUDGED, actor=actor, window=window, detail=detail
            )

    def _reject(self, rejection: Rejection, rejections: Spool[Rejection]) -> None:
        self.summary.reject(rejection.reason, used=rejection.trajectory_id in self.used)
        kind = rejection.stage, rejection.reason
        if self.details.get(kind) == rejection.detail:  # written once: trajectory_history.detail
            rejection = structs.replace(rejection, detail=None)
        else:
            self.details[kind] = rejection.detail
        rejections.add(rejection)

    def _between_batches(self) -> None:
        if self.on_progress is not None:
            done = self.summary.rejected.total() + len(self.window_rewards.evidence)
            self.on_progress(done, self.claimed.expected)
        self._keep_claim()

    def _keep_claim(self) -> None:
        if time.monotonic() - self.renewed > self.settings.lease_seconds / 3:
            claims.renew(self.connection, self.claimed, self.settings)
            self.renewed = time.monotonic()
