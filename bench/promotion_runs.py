"""Whole runs for ``bench.promotion``: a learner, its checkpoints, agents in arms, for 60 days.

The learner's level rises towards 0.15 with a time constant of 100 hours, one training step an hour;
a checkpoint is a little better or worse than it. 200 to 500 hours after each beginning something
happens to the branch, which no screen sees. A rollback takes the learner back to its anchor.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

from msgspec import Struct

from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.observed import ComparedWindow, Stratum
from babylon_tasks.comparison.parameters import ComparisonParameters
from babylon_tasks.comparison.rule import begin, compare

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from compared_windows import Crowd  # the tests' parts are no package

HOURS = 1440
LIMIT, CONSTANT, NOISE = 0.15, 100.0, 0.01
PROVEN = {Conclusion.PROVEN, Conclusion.PROVEN_GAIN}
BACK = {Conclusion.ROLLBACK, Conclusion.ROLLBACK_AND_PAUSE}
# What happens to a branch: at once, and each hour from then on; to its quality, to its reward.
EVENTS = {
    "plateau": ((0.0, 0.0), (0.0, 0.0)),
    "slow decline": ((0.0, 0.0), (-0.02 / 24, -0.02 / 24)),
    "collapse": ((-0.1, -0.1), (0.0, 0.0)),
    "reward hack": ((0.0, 0.0), (-0.02 / 24, 0.02 / 24)),
}


class Checkpoint(Struct, frozen=True):
    """What agents get from it, what the reward says, and the learner behind it."""

    quality: float
    reward: float
    level: float
    offset: tuple[float, float]


class Told(Struct, frozen=True):
    """What a rule says of an hour."""

    rollback: bool = False
    pause: bool = False
    anchor: str = ""  # "examinee" or "serving" becomes it
    next_examinee: bool = False


Rule = Callable[[ComparedWindow], Told]


def of_the_package(parameters: ComparisonParameters) -> Rule:
    """Run the rule as it is."""
    state = begin(parameters)

    def tell(window: ComparedWindow) -> Told:
        nonlocal state
        found = compare(parameters, state, window)
        state = found.state
        anchor = "examinee" if parameters.examinee_share else "serving"
        return Told(
            rollback=found.conclusion in BACK,
            pause=found.conclusion is Conclusion.ROLLBACK_AND_PAUSE,
            anchor=anchor if found.conclusion in PROVEN else "",
            next_examinee=found.ends_trial,
        )

    return tell


def of_0_1_0(margin: float = 0.02, hours: int = 24) -> Rule:
    """Look each hour at the fixed-sample interval over the last day, as 0.1.0's gate computes it.

    In the normal form of its bootstrap. What serves is the anchor when the interval is above minus
    the margin, and is taken back when it is below 0.
    """
    last: deque[float] = deque(maxlen=hours)

    def tell(window: ComparedWindow) -> Told:
        stratum = window.reward[0]
        last.append(stratum.serving.mean - stratum.control.mean)
        if len(last) < 6:
            return Told()
        low, high = interval(list(last))
        if high < 0 or low > -margin:
            last.clear()
        return Told(rollback=high < 0, anchor="serving" if low > -margin else "")

    return tell


def interval(differences: list[float]) -> tuple[float, float]:
    """Compute the 95 % interval of a mean as if it were looked at once."""
    half = 1.96 * stdev(differences) / sqrt(len(differences))
    return fmean(differences) - half, fmean(differences) + half


@dataclass
class Run:
    """One run; ``rule`` None: what is newest serves, as where all evidence is waived."""

    seed: int
    scenario: str
    rule: Rule | None
    agents: int = 500
    control: float = 0.1
    examinee: float = 0.1
    guarded: bool = False
    quality: float = 0.0
    regret: float = 0.0
    exposed: float = 0.0
    anchors: int = 0
    wrong: int = 0
    rollbacks: int = 0
    paused: bool = False
    _draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._draw = random.Random(f"{self.seed}/{self.scenario}")

    def go(self) -> Run:
        """Simulate it."""
        crowd, guard = (
            Crowd(self._draw, self.agents, self.control, self.examinee, deviation)
            for deviation in (0.2, 0.4)
        )
        level, offset = 0.0, (0.0, 0.0)
        serving = anchor = self._checkpoint(level, offset)
        examinee: Checkpoint | None = None
        event, best = self._event(0), 0.0
        for hour in range(HOURS):
            self._count(serving, anchor, examinee, best)
            if self.rule is not None:
                window = _window(crowd, guard if self.guarded else None, serving, examinee, anchor)
                told = self.rule(window)
                if told.anchor:
                    new = serving if told.anchor == "serving" else examinee
                    assert new is not None
                    self.anchors += 1
                    self.wrong += new.quality < anchor.quality - 0.02
                    anchor = new
                if told.rollback:
                    self.rollbacks += 1
                    serving, level, offset = anchor, anchor.level, anchor.offset
                    event = self._event(hour)
                    self.paused = self.paused or told.pause
                if told.next_examinee:
                    examinee = None
            if self.paused:
                continue
            level += (LIMIT - level) / CONSTANT
            if hour >= event:
                once, each = EVENTS[self.scenario]
                begins = once if hour == event else (0.0, 0.0)
                offset = (offset[0] + begins[0] + each[0], offset[1] + begins[1] + each[1])
            serving = self._checkpoint(level, offset)
            if examinee is None and self.examinee:
                examinee = serving
            best = max(best, level + offset[0])
        self.quality /= HOURS
        self.regret /= HOURS
        self.exposed /= HOURS
        return self

    def _event(self, hour: int) -> int:
        return hour + self._draw.randint(200, 500)

    def _checkpoint(self, level: float, offset: tuple[float, float]) -> Checkpoint:
        noise = self._draw.gauss(0, NOISE)
        return Checkpoint(level + offset[0] + noise, level + offset[1] + noise, level, offset)

    def _count(
        self, serving: Checkpoint, anchor: Checkpoint, examinee: Checkpoint | None, best: float
    ) -> None:
        control = self.control if self.rule is not None else 0.0
        tried = self.examinee if examinee is not None and self.rule is not None else 0.0
        arms = [(1 - control - tried, serving), (control, anchor), (tried, examinee)]
        for share, one in arms:
            if one is not None:
                self.quality += share * one.quality
                self.regret += share * (best - one.quality)
                self.exposed += share * (one.quality <= best - 0.05)


def _window(
    crowd: Crowd,
    guard: Crowd | None,
    serving: Checkpoint,
    examinee: Checkpoint | None,
    anchor: Checkpoint,
) -> ComparedWindow:
    tried = None if examinee is None else examinee.reward
    window = crowd.window(serving.reward, tried, anchor.reward)
    if guard is None:
        return window
    tried = None if examinee is None else examinee.quality
    strata: tuple[Stratum, ...] = guard.window(serving.quality, tried, anchor.quality).reward
    return ComparedWindow(window=window.window, reward=window.reward, guard=strata)
