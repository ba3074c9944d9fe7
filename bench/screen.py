"""How often the screen refuses, by simulation: python -m bench.screen

Each row is a pair of policies, the columns are numbers of questions. A question has its own
probability of a right answer (Beta, with the row's mean): the answers of two policies to one
question are alike, as real ones are. ``as written`` is the rule of the reference, without doubt:
two points fewer valid answers, or a lower bound of the difference in rightness below -0.10.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from babylon_tasks.dataset.questions import ScreenedAnswer
from babylon_tasks.registry.screen_rule import (
    Against,
    Pair,
    ScreenResult,
    ScreenTerms,
    screen,
)

TERMS = ScreenTerms(min_questions=1, min_valid=0.5)


@dataclass(frozen=True)
class Policy:
    """Shares of valid answers, and of right ones among them; ``constant``: always YES."""

    valid: float
    right: float
    constant: bool = False


@dataclass(frozen=True)
class Case:
    """Two policies, by what happened to the second one."""

    what: str
    before: Policy
    now: Policy


CASES = (
    Case("equal, 98 % valid, 55 % right", Policy(0.98, 0.55), Policy(0.98, 0.55)),
    Case("equal, 90 % valid, 70 % right", Policy(0.90, 0.70), Policy(0.90, 0.70)),
    Case("equal, 30 % valid, 50 % right", Policy(0.30, 0.50), Policy(0.30, 0.50)),
    Case("better: right 70 to 75 %", Policy(0.95, 0.70), Policy(0.95, 0.75)),
    Case("valid 98 to 93 %", Policy(0.98, 0.70), Policy(0.93, 0.70)),
    Case("valid 98 to 88 %", Policy(0.98, 0.70), Policy(0.88, 0.70)),
    Case("valid 98 to 78 %", Policy(0.98, 0.70), Policy(0.78, 0.70)),
    Case("right 70 to 65 %", Policy(0.98, 0.70), Policy(0.98, 0.65)),
    Case("right 70 to 55 %", Policy(0.98, 0.70), Policy(0.98, 0.55)),
    Case("right 70 to 45 %", Policy(0.98, 0.70), Policy(0.98, 0.45)),
    Case("always YES, 55 % right before", Policy(0.98, 0.55), Policy(1.0, 0.50, constant=True)),
    Case("gibberish", Policy(0.98, 0.55), Policy(0.02, 0.50)),
)


def answers(policies: Sequence[Policy], count: int, draw: random.Random) -> list[Pair]:
    """Draw both policies' answers to some questions."""
    pairs = []
    for _ in range(count):
        place, ends = draw.random(), draw.random() < 0.5
        drawn = [_answer(one, place, draw, ends=ends) for one in policies]
        pairs.append((drawn[1], drawn[0]))
    return pairs


def _answer(policy: Policy, place: float, draw: random.Random, *, ends: bool) -> ScreenedAnswer:
    if draw.random() >= policy.valid:
        return ScreenedAnswer(f"{draw.random()}", valid=False, rightness=0.0, length=10)
    if policy.constant:
        right = ends
    else:  # the hardest third of the questions is right half as often as the easiest one
        right = draw.random() < min(1.0, policy.right * (0.67 + 0.66 * place))
    return ScreenedAnswer("yes" if right is ends else "no", True, float(right), 10)


def as_written(pairs: Sequence[Pair]) -> bool:
    """Refuse by the reference's two numbers as they stand."""
    n = len(pairs)
    valid = fmean(float(ours.valid) - theirs.valid for ours, theirs in pairs)
    right = [(ours.rightness or 0.0) - (theirs.rightness or 0.0) for ours, theirs in pairs]
    mean = fmean(right)
    error = (fmean((one - mean) ** 2 for one in right) / n) ** 0.5
    return valid < -0.02 or mean - 1.96 * error < -0.10


def refusals(case: Case, count: int, runs: int, seed: int) -> tuple[float, float]:
    """Share of refused candidates: by the screen, and by the rule as it is written."""
    draw = random.Random(f"{seed}/{case.what}/{count}")
    ours = theirs = 0
    for _ in range(runs):
        pairs = answers((case.before, case.now), count, draw)
        ours += screen(pairs, Against.SERVING, TERMS).result is ScreenResult.REFUSED
        theirs += as_written(pairs)
    return ours / runs, theirs / runs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--questions", type=int, nargs="*", default=[50, 100, 200, 400])
    given = parser.parse_args()
    heads = " | ".join(f"{n}: screen | as written" for n in given.questions)
    print(f"| | {heads} |")
    print("|---" * (1 + 2 * len(given.questions)) + "|")
    for case in CASES:
        found = [refusals(case, n, given.runs, given.seed) for n in given.questions]
        cells = " | ".join(f"{ours:.3f} | {theirs:.3f}" for ours, theirs in found)
        print(f"| {case.what} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
