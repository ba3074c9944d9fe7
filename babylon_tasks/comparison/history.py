"""What a comparison's recorded windows say, as curves and marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from statistics import fmean

from msgspec import Struct

from babylon_tasks.arms import Arms, in_force
from babylon_tasks.comparison.conclusion import ComparisonEvidence, Conclusion
from babylon_tasks.comparison.on_record import evidence_of
from babylon_tasks.comparison.parameters import ComparisonParameters

MOST_POINTS = 480  # of a curve: a screen shows no more
_UNMARKED = frozenset({Conclusion.KEEP, Conclusion.PAUSE_COMPARISON})


class WindowOnRecord(Struct, frozen=True):
    """A window as it was recorded; ``evidence`` is JSON, None for one that came late."""

    window: str
    conclusion: str
    evidence: str | None


class ArmDifference(Struct, frozen=True):
    """An arm less the anchor's, and its standard deviation."""

    value: float
    deviation: float


class TrialValues(Struct, frozen=True):
    """The examinee's e-values: not worse by the margin, better, worse."""

    margin: float
    gain: float
    worse: float


class ArmShares(Struct, frozen=True):
    """The parts of the agents that were drawn for each arm."""

    serving: float
    control: float
    examinee: float


class Point(Struct, frozen=True, kw_only=True):
    """A window, or some in a row by the name of the first.

    Of several the differences are averaged; detectors and e-values are the highest, the rest is
    what was last. None where there was no such thing.
    """

    window: str
    serving: ArmDifference | None
    examinee: ArmDifference | None
    bound: float | None
    harm: float
    detectors: tuple[float, ...]
    trial: TrialValues | None
    shares: ArmShares | None
    loss: float | None


class Mark(Struct, frozen=True):
    """A window that changed something: why, and what was done."""

    number: int
    window: str
    conclusion: str
    why: str
    done: str


class ComparisonHistory(Struct, frozen=True, kw_only=True):
    """Curves of ``together`` windows a point, and what they are compared with.

    ``detectors`` names those of each point. ``needed``: an e-value. ``budget``: of a ramp.
    """

    windows: int
    together: int
    points: list[Point]
    marks: list[Mark]
    detectors: tuple[str, ...]
    run_length: float
    needed: float
    margin: float
    budget: float | None


def history(
    parameters: ComparisonParameters,
    rows: Sequence[WindowOnRecord],
    drawn: Sequence[Arms],
    done: Mapping[str, str],
) -> ComparisonHistory:
    """Read a comparison's windows; ``drawn``: arms by decision; ``done``: acts by window.

    A window that came late has no figures, so it is left out. Raises AnotherVersion.
    """
    points: list[Point] = []
    marks: list[Mark] = []
    for row in rows:
        if row.evidence is None:
            continue
        evidence = evidence_of(row.window, row.evidence)
        points.append(_point(row.window, evidence, in_force(drawn, row.window)))
        if row.conclusion not in _UNMARKED:
            acts = done.get(row.window, "")
            number = len(marks) + 1
            marks.append(Mark(number, row.window, row.conclusion, evidence.reason, acts))
    together = max(1, ceil(len(points) / MOST_POINTS))
    return ComparisonHistory(
        windows=len(points),
        together=together,
        points=[_join(points[at : at + together]) for at in range(0, len(points), together)],
        marks=marks,
        detectors=_detectors(parameters),
        run_length=parameters.run_length,
        needed=1 / parameters.alpha,
        margin=parameters.reward.margin,
        budget=None if parameters.ramp is None else parameters.ramp.budget,
    )


def _point(window: str, evidence: ComparisonEvidence, arms: Arms | None) -> Point:
    reward, guard = evidence.reward, evidence.guard
    seen = reward.measured
    trial = TrialValues(reward.margin, reward.gain, reward.worse)
    return Point(
        window=window,
        serving=_difference(seen.serving, seen.serving_deviation),
        examinee=_difference(seen.examinee, seen.examinee_deviation),
        bound=reward.bound,
        harm=evidence.harm,
        detectors=reward.harm if guard is None else (*reward.harm, *guard.harm),
        trial=trial if evidence.trial_windows else None,
        shares=None if arms is None else _shares(arms),
        loss=None if evidence.ramp is None else evidence.ramp.loss,
    )


def _difference(value: float | None, deviation: float | None) -> ArmDifference | None:
    return None if value is None else ArmDifference(value, deviation or 0.0)


def _shares(arms: Arms) -> ArmShares:
    rest = 1 - arms.control_share - arms.examinee_share
    return ArmShares(rest, arms.control_share, arms.examinee_share)


def _detectors(parameters: ComparisonParameters) -> tuple[str, ...]:
    """Name them in the order of the evidence."""
    names = list[str]()
    for name, metric in (("reward", parameters.reward), ("guard", parameters.guard)):
        if metric is not None:
            names.append(f"{name}, slow")
            if metric.collapse is not None:
                names.append(f"{name}, fast")
    return tuple(names)


def _join(points: Sequence[Point]) -> Point:
    if len(points) == 1:
        return points[0]
    trials = [one.trial for one in points if one.trial is not None]
    return Point(
        window=points[0].window,
        serving=_mean([one.serving for one in points]),
        examinee=_mean([one.examinee for one in points]),
        bound=_last([one.bound for one in points]),
        harm=max(one.harm for one in points),
        detectors=tuple(map(max, zip(*(one.detectors for one in points), strict=True))),
        trial=None
        if not trials
        else TrialValues(
            max(one.margin for one in trials),
            max(one.gain for one in trials),
            max(one.worse for one in trials),
        ),
        shares=next((one.shares for one in reversed(points) if one.shares is not None), None),
        loss=_last([one.loss for one in points]),
    )


def _mean(found: Sequence[ArmDifference | None]) -> ArmDifference | None:
    seen = [one for one in found if one is not None]
    if not seen:
        return None
    error = sqrt(sum(one.deviation**2 for one in seen)) / len(seen)
    return ArmDifference(fmean(one.value for one in seen), error)


def _last(found: Sequence[float | None]) -> float | None:
    return next((one for one in reversed(found) if one is not None), None)
