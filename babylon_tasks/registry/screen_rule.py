"""The screen: two policies' answers to the same held-out questions in, a result out. Pure.

It sees collapse, not progress: with 200 questions the standard error of a share is about .035. So
it refuses only what is worse beyond doubt; bench/screen.py has its error rates.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from statistics import fmean, stdev
from typing import Any

from msgspec import Struct

from babylon_tasks.dataset.questions import ScreenedAnswer
from babylon_tasks.registry.near_constant import OF_ANSWERS, is_near_constant

# How unlikely a difference must be between two policies that are the same: each clause refuses at
# most one of them in 200.
_DOUBT = 0.005
_SHARE_DOWN = 0.02  # valid answers, and those that do not repeat themselves
_RIGHTNESS_DOWN = 0.10  # what the lower bound of the difference must be below
_NORMAL_95 = 1.96
_MIN_KNOWN = 20  # questions with a known outcome, for rightness to count
_LENGTHS = (0.5, 2.0)
_MAX_REPEATING = 0.10  # where only the recorded answers are compared with


class Against(StrEnum):
    """What a candidate's answers are compared with."""

    SERVING = "serving"  # those of the serving checkpoint, asked now
    RECORDED = "recorded"  # those of another model, as agents recorded them


class ScreenResult(StrEnum):
    """How a screen ended; the values are stored."""

    PASSED = "passed"
    REFUSED = "refused"
    TOO_FEW = "too_few"  # nothing is decided


class ScreenTerms(Struct, frozen=True):
    """The operator's bounds: with fewer questions nothing is decided; ``min_valid`` counts where
    agents use another model."""

    min_questions: int
    min_valid: float


class Screened(Struct, frozen=True):
    """A screen's result, its reason, and the figures behind it."""

    result: ScreenResult
    reason: str
    figures: dict[str, Any]


Pair = tuple[ScreenedAnswer, ScreenedAnswer]  # the candidate's, the other's


def screen(pairs: Sequence[Pair], against: Against, terms: ScreenTerms) -> Screened:
    """Refuse a candidate that has collapsed.

    Against the serving checkpoint: fewer valid answers, more wrong ones, answers that repeat
    themselves or each other, or are half or twice as long. Against the recorded answers of another
    model, which may well be better, absolute bounds count instead, and a ramp bounds the harm.
    """
    if len(pairs) < terms.min_questions:
        return too_few(len(pairs), against, terms)
    figures = {"questions": len(pairs), "against": against.value, **_figures(pairs)}
    ways = _relative if against is Against.SERVING else _absolute
    found = [*ways(pairs, figures, terms), *_constant(pairs, figures)]
    seen = f"on {len(pairs)} held-out questions"
    if found:
        return Screened(ScreenResult.REFUSED, f"{seen}: {'; '.join(found)}", figures)
    known = figures["known"]
    right = f"{known} with a known outcome" if known >= _MIN_KNOWN else "rightness not compared"
    return Screened(
        ScreenResult.PASSED, f"no collapse {seen} ({right}), {_sum_up(figures)}", figures
    )


def too_few(questions: int, against: Against, terms: ScreenTerms) -> Screened:
    """Decide nothing, where there are fewer questions than the terms require."""
    reason = f"{questions} held-out questions of at least {terms.min_questions}"
    figures = {"questions": questions, "against": against.value}
    return Screened(ScreenResult.TOO_FEW, reason, figures)


def doubt(differences: Sequence[float]) -> float:
    """Compute how probable so many falls are among policies that are the same (the sign test).

    It is exact whatever the shares are: two answers of one policy to one question can be
    exchanged.
    """
    falls = sum(one < 0 for one in differences)
    n = sum(one != 0 for one in differences)
    return float(sum(math.comb(n, k) for k in range(falls, n + 1)) / 2**n)


def _figures(pairs: Sequence[Pair]) -> dict[str, Any]:
    known = _rightness(pairs)
    decided = Counter(candidate.decides for candidate, _ in pairs).most_common(1)[0][0]
    both = {
        "valid": _means(pairs, lambda one: one.valid),
        "length": _means(pairs, lambda one: one.length),
        "repeating": _means(pairs, lambda one: one.repeats),
        "most_common": _means(pairs, lambda one: one.decides == decided),
    }
    if known:
        sides = list(zip(*known, strict=True))
        both["right"] = {"candidate": fmean(sides[0]), "other": fmean(sides[1])}
    return {"known": len(known), **both}


def _relative(pairs: Sequence[Pair], figures: dict[str, Any], terms: ScreenTerms) -> list[str]:
    del terms  # its bounds are for an absolute look
    found = []
    if _worse(pairs, lambda one: one.valid):
        found.append(f"valid answers {_from_to(figures['valid'])}")
    if _worse(pairs, lambda one: not one.repeats):
        found.append(f"answers that repeat themselves {_from_to(figures['repeating'])}")
    known = [ours - theirs for ours, theirs in _rightness(pairs)]
    if len(known) >= _MIN_KNOWN:
        low, high = _interval(known)
        figures["right"]["interval_95"] = [low, high]
        if low < -_RIGHTNESS_DOWN and fmean(known) < 0 and doubt(known) <= _DOUBT:
            found.append(f"right ones of {len(known)} {_from_to(figures['right'])}")
    length = figures["length"]
    least, most = (bound * length["other"] for bound in _LENGTHS)
    if not least <= length["candidate"] <= most:
        found.append(f"a mean length of {length['candidate']:.0f} after {length['other']:.0f}")
    return found


def _absolute(pairs: Sequence[Pair], figures: dict[str, Any], terms: ScreenTerms) -> list[str]:
    del pairs
    found = []
    valid, repeating = figures["valid"]["candidate"], figures["repeating"]["candidate"]
    if valid < terms.min_valid:
        found.append(f"{valid:.0%} valid answers of at least {terms.min_valid:.0%}")
    if repeating > _MAX_REPEATING:
        found.append(f"{repeating:.0%} of the answers repeat themselves")
    return found


def _constant(pairs: Sequence[Pair], figures: dict[str, Any]) -> list[str]:
    """Find nearly the same answer to everything, unless it is right where the other's is not."""
    share, other = (figures["most_common"][side] for side in ("candidate", "other"))
    decided = Counter(candidate.decides for candidate, _ in pairs).most_common(1)[0][0]
    differences = [float(theirs.decides == decided) - (ours.decides == decided)
                   for ours, theirs in pairs]  # fmt: skip
    if not is_near_constant(share, other, OF_ANSWERS) or doubt(differences) > _DOUBT:
        return []
    gains = [theirs - ours for ours, theirs in _rightness(pairs)]
    if len(gains) >= _MIN_KNOWN and doubt(gains) <= _DOUBT:
        return []
    return [f"{share:.0%} of the answers come to the same, {other:.0%} before"]


def _worse(pairs: Sequence[Pair], good: Callable[[ScreenedAnswer], bool]) -> bool:
    differences = [float(good(ours)) - good(theirs) for ours, theirs in pairs]
    return fmean(differences) < -_SHARE_DOWN and doubt(differences) <= _DOUBT


def _rightness(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    return [
        (ours.rightness, theirs.rightness)
        for ours, theirs in pairs
        if ours.rightness is not None and theirs.rightness is not None
    ]


def _interval(differences: Sequence[float]) -> tuple[float, float]:
    mean, error = fmean(differences), stdev(differences) / math.sqrt(len(differences))
    return mean - _NORMAL_95 * error, mean + _NORMAL_95 * error


def _means(pairs: Sequence[Pair], figure: Callable[[ScreenedAnswer], float]) -> dict[str, Any]:
    return {
        "candidate": fmean(figure(ours) for ours, _ in pairs),
        "other": fmean(figure(theirs) for _, theirs in pairs),
    }


def _from_to(figure: dict[str, Any]) -> str:
    return f"{figure['other']:.1%} before, {figure['candidate']:.1%} now"


def _sum_up(figures: dict[str, Any]) -> str:
    parts = [f"valid {_from_to(figures['valid'])}"]
    if figures["known"] >= _MIN_KNOWN:
        parts.append(f"right {_from_to(figures['right'])}")
    return ", ".join(parts)
