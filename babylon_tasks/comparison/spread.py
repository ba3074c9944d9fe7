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


def adjustment(spread: Spread, strata: Iterable[Stratum]) -> tuple[float, float]:
    """Return a window's slope and the variance that it leaves; none where no past is known."""
    if any(arm.past_variance for arm in _arms(strata)):
        return spread.slope, spread.left
    return 0.0, spread.variance


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
    if not past_variance:  # what was known of the past stays
        past_variance = spread.past_variance * (total - old)
        covariance = spread.covariance * (total - old)
    return Spread(
        (spread.variance * old + variance) / total,
        (spread.past_variance * old + past_variance) / total,
        (spread.covariance * old + covariance) / total,
        total,
    )


def _arms(strata: Iterable[Stratum]) -> Iterable[ArmResult]:
    for stratum in strata:
        yield stratum.serving
        yield stratum.control
        if stratum.examinee is not None:
            yield stratum.examinee
