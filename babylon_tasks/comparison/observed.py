"""What a finished window showed: the arms' figures, as drawn, whatever answered."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from statistics import fmean
from typing import Annotated

from msgspec import Meta, Struct

from babylon_tasks.comparison.parameters import MetricParameters


class ArmResult(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A metric in one arm: agents with a value, and mean and variance of their values.

    ``past_mean`` and so on: the same agents' values in earlier windows, where they are known, and
    the covariance of the two.
    """

    n: Annotated[int, Meta(ge=0)]
    mean: float
    variance: Annotated[float, Meta(ge=0)]
    past_mean: float = 0.0
    past_variance: Annotated[float, Meta(ge=0)] = 0.0
    covariance: float = 0.0


class Stratum(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Agents that are compared with each other only, such as those of one archetype."""

    serving: ArmResult
    control: ArmResult
    examinee: ArmResult | None = None
    name: str = ""


class DrawnAgents(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many agents that were active were drawn for each arm, with a reward or without."""

    serving: int
    control: int
    examinee: int = 0


class ComparedWindow(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A finished window; ``reward`` and ``guard`` have an entry for each stratum.

    ``decided``: the last window of the comparison whose conclusion its arms follow; None: the last
    one there was. ``examinee``: the name of the checkpoint on trial, if there is one.
    ``complied``: the share of agents whom the model of their arm answered. ``discards_examinee``:
    a rollback now would discard the examinee's branch. ``drawn`` None: all have a reward.
    ``collapsed``: why what serves is taken out of service at once; "" for nothing of the kind.
    ``anchored``: the anchor itself serves, so that an average says nothing of another.
    """

    window: str
    reward: tuple[Stratum, ...]
    guard: tuple[Stratum, ...] = ()
    decided: str | None = None
    examinee: str = ""
    complied: Annotated[float, Meta(ge=0, le=1)] = 1.0
    drawn: DrawnAgents | None = None
    discards_examinee: bool = False
    collapsed: str = ""
    anchored: bool = False


def arm_result(
    values: Sequence[float], metric: MetricParameters, past: Sequence[float] = ()
) -> ArmResult:
    """Summarise an arm, one value for each agent, clipped to the metric's bounds.

    ``past``: each agent's mean in earlier windows; for an agent without one the mean of all.
    Raises ValueError for what is no number.
    """
    if any(map(isnan, (*values, *past))):
        raise ValueError("an agent's value is NaN: leave agents without a value out of their arm")
    clipped = [min(metric.upper, max(metric.lower, value)) for value in values]
    if not clipped:
        return ArmResult(0, 0.0, 0.0)
    mean, variance, _ = _moments(clipped, clipped)
    if not past:
        return ArmResult(len(clipped), mean, variance)
    past_mean, past_variance, _ = _moments(past, past)
    _, _, covariance = _moments(clipped, past)
    return ArmResult(len(clipped), mean, variance, past_mean, past_variance, covariance)


def _moments(ones: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    mean, other_mean = fmean(ones), fmean(others)
    degrees = max(len(ones) - 1, 1)
    variance = sum((one - mean) ** 2 for one in ones) / degrees
    products = zip(ones, others, strict=True)
    covariance = sum((one - mean) * (other - other_mean) for one, other in products) / degrees
    return mean, variance, covariance
