"""Score a window without writing: read, decode and score it as usual, and discard the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing

from msgspec import Struct, field, structs

from babylon_tasks.dataset.better_part import why_left_out
from babylon_tasks.dataset.eligibility import Policies, UnfitCall, exact, label
from babylon_tasks.db.outcomes import OutcomeBook
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import decode
from babylon_tasks.pipeline.join_calls import CallJoin, JoinedTrajectory, JoinMode
from babylon_tasks.pipeline.recorded_counts import RecordedCounts
from babylon_tasks.reasons import Reason
from babylon_tasks.records import Evidence, LlmCall, RawTrajectory, Rejection, Trajectory
from babylon_tasks.scoring.base import Scorer
from babylon_tasks.scoring.choice import Scorers
from babylon_tasks.scoring.evidence import evidence as extract_evidence
from babylon_tasks.settings import Settings


class Candidate(Struct, frozen=True, gc=False):
    """A decoded trajectory; ``unfit`` is why the next step would not take it, ``learnable`` whether
    a supervised one may."""

    evidence: Evidence
    archetype: str | None
    unfit: str | None
    exact: bool
    learnable: bool


class Usable(Struct, frozen=True):
    """How many trajectories are usable, how many of them exact, how many a warm start may choose
    from, whoever answered, and the others by reason."""

    usable: int
    exact: int
    for_warm_start: int
    rejected: dict[str, int]


class DryRun(Struct):
    """A window as read; keeps a few hundred bytes per trajectory, and no text."""

    recorded: RecordedCounts
    rejected: Counter[str] = field(default_factory=Counter)
    candidates: list[Candidate] = field(default_factory=list)

    def usable(self, scorers: Scorers) -> Usable:
        """Count what the next step, or a warm start, would take."""
        rejected, exactly, usable, learnable = self.rejected.copy(), 0, 0, 0
        for one, scored in zip(self.candidates, _scored(scorers, self.candidates), strict=True):
            if not scored:
                rejected[Reason.NO_EVIDENCE] += 1
                continue
            learnable += one.learnable
            if one.unfit is not None:
                rejected[one.unfit] += 1
            else:
                usable += 1
                exactly += one.exact
        return Usable(usable, exactly, learnable, dict(rejected.most_common()))


def read(settings: Settings, connection: Connection, window: str, policies: Policies) -> DryRun:
    """Read a window whose id is an hour; rows already used count in ``recorded`` too."""
    dry_run = DryRun(RecordedCounts())
    book = OutcomeBook(connection, window)
    join = CallJoin(connection, window, JoinMode.LOOK)
    with (
        session(settings) as reading,
        closing(stream_window(reading, window, settings, used=True)) as batches,
    ):
        for batch in batches:
            whole: list[tuple[RawTrajectory, Trajectory]] = []
            for raw in batch:
                found = decode(structs.replace(raw, already_used=False))
                if isinstance(found, Rejection):
                    reason = Reason.ALREADY_USED if raw.already_used else found.reason
                    dry_run.rejected[reason] += 1
                else:
                    whole.append((raw, found))
            trajectories = [found for _, found in whole]
            outcomes = book.covering(trajectories)
            for (raw, _), joined in zip(whole, join.join(trajectories), strict=True):
                one = joined.trajectory
                evidence = extract_evidence(one, outcomes)
                dry_run.recorded.add(one, evidence)
                if raw.already_used:
                    dry_run.rejected[Reason.ALREADY_USED] += 1
                    continue
                unfit = _unfit(joined, settings, policies)
                learnable = any(why_left_out(call) is None for call in one.calls)
                dry_run.candidates.append(
                    Candidate(evidence, one.archetype, unfit, any(map(exact, one.calls)), learnable)
                )
    dry_run.recorded.captures.update(join.results)
    dry_run.recorded.misnamed += join.misnamed
    return dry_run


def _scored(scorers: Scorers, candidates: Sequence[Candidate]) -> list[bool]:
    """Check whether each has evidence for its scorer."""
    by_scorer: dict[Scorer, list[int]] = {}
    for number, one in enumerate(candidates):
        by_scorer.setdefault(scorers.scorer_for(one.archetype), []).append(number)
    scored = [False] * len(candidates)
    every = [one.evidence for one in candidates]
    for scorer, members in by_scorer.items():
        scores = scorer.rewards([every[number] for number in members], every)
        for number, score in zip(members, scores, strict=True):
            scored[number] = score is not None
    return scored


def _unfit(joined: JoinedTrajectory, settings: Settings, policies: Policies) -> Reason | None:
    """Find why the next step would not take a trajectory; None where it takes one of its calls."""
    reasons = [
        Reason.AMBIGUOUS_CAPTURE if unfit is not None and place in joined.ambiguous else unfit
        for place, call in enumerate(joined.trajectory.calls)
        for unfit in [_unfit_call(call, settings, policies)]
    ]
    return None if None in reasons else Counter(reasons).most_common(1)[0][0]


def _unfit_call(call: LlmCall, settings: Settings, policies: Policies) -> Reason | None:
    fitting = label(
        call, policies, settings.labels, max_staleness_steps=settings.max_staleness_steps
    )
    return fitting.reason if isinstance(fitting, UnfitCall) else None
