"""What the gate passes and refuses at which true difference, by simulation: python -m bench.gate

A question has its own probability of a right answer under what serves (Beta about 0.7). Training
moves each question's by the true difference, and by its own amount besides (``--apart``): this
noise, not that of sampling, is what a comparison by teacher forcing sees. ``before`` is the gate of
0.1.0: the mean of the set's newest groups against that of what serves and the best of the last
eight checkpoints, less 0.01, without a standard error.

A line of steps then shows what the rule does over time: steps that each lose a little, steps that
win a little, and how many are refused in a row where none changes anything. Last, a reversal: all
of a sudden the older half of the set says the opposite.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from statistics import fmean, median

from pydantic import SecretStr

from babylon_tasks.dataset.held_out import Place
from babylon_tasks.decisions import Decision
from babylon_tasks.held_out_hours import NEWEST_HOURS
from babylon_tasks.registry.promotion_gate import EARLIER, CheckpointFigures, decide
from babylon_tasks.settings import Settings

SETTINGS = Settings(
    database_url=SecretStr("postgresql://u@h/d"), promote_entropy_weight=0.0, _env_file=None
)
PER_HOUR = 8  # questions that a held-out hour has
TRUE = (-0.10, -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05)
GROUPS = (4, 8, 16, 32, 64, 128)
STEPS = 40

Values = tuple[float, ...]


def places(groups: int) -> list[Place]:
    """Make a set of the newest hour, the one before it, and so on."""
    return [
        Place(f"{number // PER_HOUR}", str(number), newest=number // PER_HOUR < NEWEST_HOURS)
        for number in range(groups)
    ]


def first(groups: int, draw: random.Random) -> Values:
    """Draw what serves: its value by question."""
    return tuple(draw.betavariate(3.5, 1.5) for _ in range(groups))


def moved(values: Values, true: float, apart: float, draw: random.Random) -> Values:
    """Train on: each question moves by the true difference, and by an amount of its own."""
    return tuple(value + true + draw.gauss(0, apart) for value in values)


def passes(candidate: Values, serving: Values, before: Values | None) -> bool:
    """Ask the gate."""
    decision = decide(
        CheckpointFigures(2, candidate),
        CheckpointFigures(1, serving),
        None if before is None else CheckpointFigures(0, before),
        places(len(candidate)),
        SETTINGS,
    )
    return decision.decision is Decision.PROMOTE


def passed_before(candidate: Values, serving: Values, others: Sequence[Values]) -> bool:
    """Ask the gate of 0.1.0."""
    bar = max([fmean(serving), *map(fmean, others)])
    return fmean(candidate) >= bar - SETTINGS.promote_tolerance


def power(true: float, groups: int, apart: float, runs: int) -> tuple[float, float]:
    """Share of candidates that pass, now and before: one step from what serves.

    Of the eight checkpoints before, each is as good as what serves.
    """
    draw = random.Random(f"{true}/{groups}")
    now = then = 0
    for _ in range(runs):
        serving = first(groups, draw)
        candidate = moved(serving, true, apart, draw)
        now += passes(candidate, serving, None)
        others = [moved(serving, 0.0, apart, draw) for _ in range(EARLIER)]
        then += passed_before(candidate, serving, others)
    return now / runs, then / runs


def line(true: float, groups: int, apart: float, runs: int) -> tuple[float, float, float]:
    """Take 40 steps from what serves each time; the set stays.

    Returns the true gain of what serves in the end, the share that was promoted, and the median of
    the most refusals in a row.
    """
    draw = random.Random(f"line/{true}/{groups}")
    gains, shares, most = [], [], []
    for _ in range(runs):
        served, gain = [first(groups, draw)], [0.0]
        longest = refused = 0
        for _ in range(STEPS):
            candidate = moved(served[-1], true, apart, draw)
            before = served[max(0, len(served) - 1 - EARLIER)] if len(served) > 1 else None
            if passes(candidate, served[-1], before):
                served.append(candidate)
                gain.append(gain[-1] + true)
                refused = 0
            else:
                refused += 1
            longest = max(longest, refused)
        gains.append(gain[-1])
        shares.append((len(served) - 1) / STEPS)
        most.append(longest)
    return fmean(gains), fmean(shares), median(most)


def reversed_world(true: float, hours: int, newer: int, apart: float, runs: int) -> float:
    """Share of candidates that pass which are better in ``newer`` hours of a set, and as much worse
    in all others."""
    draw = random.Random(f"reversal/{true}/{hours}/{newer}")
    passed = 0
    for _ in range(runs):
        serving = first(hours * PER_HOUR, draw)
        candidate = tuple(
            value + (true if number < newer * PER_HOUR else -true) + draw.gauss(0, apart)
            for number, value in enumerate(serving)
        )
        passed += passes(candidate, serving, None)
    return passed / runs


def few_of_today(true: float, newest: int, older: int, apart: float, runs: int) -> float:
    """Share of candidates that pass which are better on so many questions of today, and as much
    worse on those of the past."""
    draw = random.Random(f"today/{true}/{newest}/{older}")
    asked = [Place("", str(number), newest=number < newest) for number in range(newest + older)]
    passed = 0
    for _ in range(runs):
        serving = first(len(asked), draw)
        candidate = tuple(
            value + (true if place.newest else -true) + draw.gauss(0, apart)
            for value, place in zip(serving, asked, strict=True)
        )
        decision = decide(
            CheckpointFigures(2, candidate), CheckpointFigures(1, serving), None, asked, SETTINGS
        )
        passed += decision.decision is Decision.PROMOTE
    return passed / runs


def main() -> None:
    """Print the tables of docs/learning.md."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=2000)
    asked.add_argument("--apart", type=float, default=0.1, help="standard deviation of a question")
    given = asked.parse_args()
    print("| true difference | " + " | ".join(f"{n} groups" for n in GROUPS) + " |")
    print("|---" * (1 + len(GROUPS)) + "|")
    for true in TRUE:
        found = [power(true, groups, given.apart, given.runs) for groups in GROUPS]
        cells = " | ".join(f"{now:.2f} ({then:.2f})" for now, then in found)
        print(f"| {true:+.2f} | {cells} |", flush=True)
    print(f"\n| each of {STEPS} steps | groups | gained in the end | promoted | refused in a row |")
    print("|---" * 5 + "|")
    for true in (-0.01, -0.005, 0.0, 0.005, 0.01):
        for groups in (16, 48):
            gain, share, refused = line(true, groups, given.apart / 2, given.runs // 20)
            print(f"| {true:+.3f} | {groups} | {gain:+.3f} | {share:.2f} | {refused:.0f} |")
    print("\n| new hours of 7, each .10 better, the others .10 worse | passes |")
    print("|---|---|")
    for newer in range(5):
        print(f"| {newer} | {reversed_world(0.1, 7, newer, given.apart, given.runs):.2f} |")
    few = (1, 2, 4, 8, 16)
    print(f"\n| better today by, else worse | {' | '.join(f'{n} of today' for n in few)} |")
    print("|---" * (1 + len(few)) + "|")
    for true in (0.1, 0.3):
        cells = (few_of_today(true, n, 56, given.apart, given.runs) for n in few)
        print(f"| {true:.2f} | {' | '.join(f'{found:.2f}' for found in cells)} |")


if __name__ == "__main__":
    main()
