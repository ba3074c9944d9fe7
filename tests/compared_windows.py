"""Hours of simulated agents in arms, drawn by a seed; for tests of the rule, and for its tables.

What an hour does to the difference of two arms is drawn anew for each arm and hour, with
``correlation`` to the hour before. What it does to all arms alike cancels, so there is none.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from math import sqrt

from babylon_tasks.comparison.observed import ArmResult, ComparedWindow, Stratum
from babylon_tasks.windows import window_id


@cache
def hour(number: int) -> str:
    """The id of a simulated hour."""
    return window_id(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number))


@dataclass
class Crowd:
    """Agents whose values have a deviation of ``deviation``, arms of fixed size.

    ``noise`` draws the error of an arm's mean in standard errors. ``lasting``: the share of the
    agents' variance that their past shows.
    """

    draw: random.Random
    agents: int = 500
    control: float = 0.1
    examinee: float = 0.1
    deviation: float = 0.2
    hour: float = 0.02
    correlation: float = 0.0
    noise: Callable[[], float] | None = None
    lasting: float = 0.0
    _hours: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    _number: int = 0

    def window(
        self, serving: float, examinee: float | None = None, control: float = 0.0
    ) -> ComparedWindow:
        """The next hour: the arms' true means are given, what is observed is drawn."""
        self._number += 1
        shares = (
            1 - self.control - (0.0 if examinee is None else self.examinee),
            self.control,
            self.examinee,
        )
        arms = [
            self._arm(place, max(1, round(self.agents * share)), mean)
            for place, (share, mean) in enumerate(
                zip(shares, (serving, control, examinee), strict=True)
            )
            if mean is not None
        ]
        return ComparedWindow(window=hour(self._number), reward=(Stratum(*arms),))

    def _arm(self, place: int, n: int, mean: float) -> ArmResult:
        gauss = self.draw.gauss
        new = gauss(0.0, self.hour / sqrt(2))
        if self.correlation:
            new = self.correlation * self._hours[place] + sqrt(1 - self.correlation**2) * new
            self._hours[place] = new
        error = gauss(0.0, 1.0) if self.noise is None else self.noise()
        variance = self.deviation**2
        if n > 1:  # of a sample: chi-squared, by its first two moments
            variance *= max(0.1, 1 + gauss(0.0, sqrt(2 / (n - 1))))
        standard = self.deviation / sqrt(n)
        if not self.lasting:
            return ArmResult(n, mean + new + error * standard, variance)
        past = gauss(0.0, sqrt(self.lasting) * standard)
        now = mean + new + past + error * sqrt(1 - self.lasting) * standard
        shared = self.lasting * self.deviation**2
        return ArmResult(n, now, variance, past, shared, shared)


def skewed(draw: random.Random) -> Callable[[], float]:
    """Noise with a long tail to one side: exponential, centred."""
    return lambda: draw.expovariate(1.0) - 1.0


def heavy(draw: random.Random) -> Callable[[], float]:
    """Noise of Student's t with 3 degrees of freedom, at a deviation of 1."""

    def error() -> float:
        chi = sum(draw.gauss(0.0, 1.0) ** 2 for _ in range(3))
        return draw.gauss(0.0, 1.0) / sqrt(chi)

    return error
