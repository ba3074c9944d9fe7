"""Join recorded calls that lack how they were sampled to what the gateway captured.

What Babylon recorded stays the truth of what was done, the capture is that of how it was sampled:
checkpoint, tokens, log-probabilities, parameters. Nothing is asked of Postgres where every call has
its own, or where nothing was captured around the hour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from msgspec import Struct, structs

from babylon_tasks.dataset.match_samples import (
    Matches,
    UnsampledCall,
    as_sampled,
    match_samples,
    unsampled_calls,
)
from babylon_tasks.db import call_joins
from babylon_tasks.db.session import Connection
from babylon_tasks.records import CallPlace, CapturedSample, JoinResult, Trajectory
from babylon_tasks.windows import captures_span

_TEXTS = 5000  # of one statement


class JoinMode(StrEnum):
    """What becomes of a captured call that is found."""

    CLAIM = "claim"  # it is this recorded call's from now on
    LOOK = "look"  # nothing is written
    CLAIMED = "claimed"  # only what was claimed before counts


class JoinedTrajectory(Struct, frozen=True):
    """A trajectory with what was captured.

    ``ambiguous``: the indexes of the calls whose possible captures differ.
    """

    trajectory: Trajectory
    ambiguous: frozenset[int]


class CallJoin:
    """Joins the calls of one window; ``results`` counts those that were looked for.

    ``misnamed`` of the found ones have a system prompt in which the gateway found another name than
    the row's agent.
    """

    def __init__(self, connection: Connection, window: str, mode: JoinMode) -> None:
        self.results: Counter[JoinResult] = Counter()
        self.misnamed = 0
        self._connection = connection
        self._window = window
        self._mode = mode
        self._since, self._until = captures_span(window)
        self._any: bool | None = None
        self._taken: set[UUID] = set()

    def join(self, trajectories: Sequence[Trajectory]) -> list[JoinedTrajectory]:
        """Complete the calls of trajectories of the window; the order stays."""
        wanted = unsampled_calls(trajectories)
        if not wanted or not self._captured():
            return [JoinedTrajectory(one, frozenset()) for one in trajectories]
        matches = self._matches(wanted)
        self._count(wanted, matches)
        return [_joined(one, matches) for one in trajectories]

    def _captured(self) -> bool:
        if self._any is None:
            self._any = call_joins.any_captured(self._connection, self._since, self._until)
        return self._any

    def _matches(self, wanted: Sequence[UnsampledCall]) -> Matches:
        texts = list({one.texts for one in wanted})
        samples = [
            sample
            for start in range(0, len(texts), _TEXTS)
            for sample in call_joins.samples(
                self._connection, texts[start : start + _TEXTS], self._since, self._until
            )
        ]
        if self._mode is JoinMode.CLAIMED:
            samples = [one for one in samples if one.trajectory_id is not None]
        matches = match_samples(self._window, wanted, samples, self._taken)
        if self._mode is JoinMode.LOOK:
            self._taken.update(one.capture_id for one in matches.found.values())
        if self._mode is not JoinMode.CLAIM:
            return matches
        new = {where: one for where, one in matches.found.items() if one.trajectory_id is None}
        claimed = call_joins.claim(self._connection, new)
        kept = {
            where: one
            for where, one in matches.found.items()
            if where not in new or one.capture_id in claimed
        }
        return Matches(kept, matches.ambiguous)

    def _count(self, wanted: Sequence[UnsampledCall], matches: Matches) -> None:
        for one in wanted:
            sample = matches.found.get(one.where)
            if sample is not None:
                result = _result(sample)
                self.misnamed += sample.agent not in (None, one.agent_id)
            elif one.where in matches.ambiguous:
                result = JoinResult.AMBIGUOUS
            else:
                result = JoinResult.NOT_FOUND
            self.results[result] += 1


def _result(sample: CapturedSample) -> JoinResult:
    if sample.step is None:
        return JoinResult.OTHER_MODEL
    return JoinResult.EXACT if sample.exact else JoinResult.INEXACT


def _joined(trajectory: Trajectory, matches: Matches) -> JoinedTrajectory:
    calls, ambiguous = list(trajectory.calls), set()
    for place, call in enumerate(calls):
        where = CallPlace(trajectory.trajectory_id, place)
        sample = matches.found.get(where)
        if sample is not None:
            calls[place] = as_sampled(call, sample)
        elif where in matches.ambiguous:
            ambiguous.add(place)
    return JoinedTrajectory(structs.replace(trajectory, calls=tuple(calls)), frozenset(ambiguous))
