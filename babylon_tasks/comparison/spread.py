"""How much one agent's value varies in an hour, and how much of it its past predicts.

Both from earlier windows only: what a window is measured with does not depend on the window.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from babylon_tasks.comparison.observed import ArmResult, Stratum

_PRIOR = 50.0  # degrees of freedom
_MEMORY = 5000.0  # beyond them what is old fades


class Spread(Struct, frozen=True, forbid_unknown_fields=True):
    """Variances within the arms, pooled over ``freedom`` degrees of freedom."""

    variance: float
    past_variance: float
    covariance: float = 0.0
    freedom: float = _PRIOR

    @property
    def slope(self) -> float:
        """What a unit of an agent's past adds to what is expected of it now."""
        return self.covariance / self.past_variance

    @property
    def left(self) -> float:
        """The variance that the past does not explain."""
        return max(self.variance - self.slope * self.covariance, 0.01 * self.variance)


def prior(deviation: float) -> Spread:
    """Begin with what the parameters say."""
    return Spread(deviation**2, deviation**2)


def learn(spread: Spread, strata: Iterable[Stratum]) -> Spread:
    """Take a window's variances in, for the windows after it."""
    old = min(spread.freedom, _MEMORY)
    total, variance, past_variance, covariance = old, 0.0, 0.0, 0.0
    for arm in _arms(strata):
        if arm.n > 1:
            total += arm.n - 1
            variance += arm.variance * (arm.n - 1)
            past_variance += arm.past_variance * (arm.n - 1)
            covariance += arm.covariance * (arm.n - 1)
    return Spread(
        (spread.variance * old + variance) / total,
        # Where no past is known its prior stays, and the slope is 0.
        (spread.past_variance * old + past_variance) / total if past_variance else spread.variance,
        (spread.covariance * old + covariance) / total,
        total,
    )


def _arms(strata: Iterable[Stratum]) -> Iterable[ArmResult]:
    for stratum in strata:
        yield stratum.serving
        yield stratum.control
        if stratum.examinee is not None:
            yield stratum.examinee
