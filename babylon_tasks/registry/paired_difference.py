"""The mean difference of two checkpoints on the same held-out groups, and its error. Pure.

Both are evaluated on every group, so what a question is worth anyway cancels out: the error is that
of the paired differences (Student 1908; for evaluations of language models arXiv:2411.00640, which
also counts what was asked alike once). With d_q the mean difference on question q, n_1 questions of
the newest hours and n_0 older ones, weights w_q = c for the newest and 1 for the older,

    c     = max(1, min(4, 2 n_0 / n_1))
    mean  = sum(w_q d_q) / sum(w_q)
    s^2   = sum((d_q - mean of its stratum)^2) / (n - 2)
    error = s sqrt(sum(w_q^2)) / sum(w_q)

a stratified mean with one variance for both strata (Cochran, Sampling Techniques, 1977, chapter 5).
So the newest hours are two thirds of it where there is enough of them: a policy that has learned
what is right today is not refused for what was right before. And one question of today never
outweighs more than four, unless the newest hours alone show a gain beyond doubt (their mean is
above t(0.9) of its own standard error): then they are two thirds however few they are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from msgspec import Struct

from babylon_tasks.dataset.held_out import Place

DOUBT = 0.1  # how often chance alone passes for beyond doubt
_MOST_WEIGHT = 4.0  # of a question of the newest hours, against 1 of an older one
_NEWEST_TO_OLDER = 2.0  # what all of the newest weigh at most, against all of the older


class PairedDifference(Struct, frozen=True):
    """``error`` is the standard error of ``mean``, with so many degrees of freedom; without any
    (a single question) nothing is known of it, and it is 0."""

    mean: float
    error: float
    degrees: int
    questions: int
    newest: float
    """The share of the newest hours' weight."""

    def bound(self, level: float) -> float:
        """Compute how far from 0 the mean is in one of 1 / (1 - level) cases where none differ."""
        return student(level, self.degrees) * self.error if self.degrees else 0.0


def paired_difference(
    ours: Sequence[float], theirs: Sequence[float], places: Sequence[Place]
) -> PairedDifference:
    """Compare two checkpoints' figures by group; groups that were asked the same count once."""
    by_question: dict[Place, list[float]] = defaultdict(list)
    for place, a, b in zip(places, ours, theirs, strict=True):
        by_question[place].append(a - b)
    strata: dict[bool, list[float]] = {True: [], False: []}
    for place, found in by_question.items():
        strata[place.newest].append(fmean(found))
    newest, older = strata[True], strata[False]
    both = newest + older
    weight = _weight(newest, older)
    weights = [weight] * len(newest) + [1.0] * len(older)
    total = math.fsum(weights)
    mean = math.fsum(w * d for w, d in zip(weights, both, strict=True)) / total
    split = [one for one in (newest, older) if one]
    if len(both) - len(split) < 1:
        split = [both]
    degrees = len(both) - len(split)
    squares = sum((d - fmean(one)) ** 2 for one in split for d in one)
    error = math.sqrt(squares / degrees * math.fsum(w * w for w in weights)) if degrees else 0.0
    return PairedDifference(mean, error / total, degrees, len(both), weight * len(newest) / total)


def student(level: float, degrees: int) -> float:
    """Compute Student's quantile from the normal one (Abramowitz and Stegun 26.7.5).

    At 0.9 within 4 % with one degree of freedom, 0.1 % with three. Further out it is too low with
    few: at 0.99 chance is up to twice as frequent with one, and a tenth more with three.
    """
    z, n = NormalDist().inv_cdf(level), degrees
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / n**power for power, term in enumerate(terms))


def _weight(newest: Sequence[float], older: Sequence[float]) -> float:
    if not newest or not older:
        return 1.0
    two_thirds = max(1.0, _NEWEST_TO_OLDER * len(older) / len(newest))
    return two_thirds if _is_gain(newest) else min(_MOST_WEIGHT, two_thirds)


def _is_gain(sample: Sequence[float]) -> bool:
    n = len(sample)
    return n > 1 and fmean(sample) > student(1 - DOUBT, n - 1) * stdev(sample) / math.sqrt(n)
