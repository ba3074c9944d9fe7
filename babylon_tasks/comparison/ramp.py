"""How the policy's share grows while the anchor is the model that agents used before.

At the floor the policy still learns, and its loss is tuition: it stays within a budget. It rises on
evidence only, a stage at a time; harm sends it back to the floor in the window that shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from math import log

from msgspec import Struct

from babylon_tasks.comparison.e_values import log_mean, windows
from babylon_tasks.comparison.metric import MetricState
from babylon_tasks.comparison.observed import Stratum
from babylon_tasks.comparison.parameters import Ramp


class RampStage(IntEnum):
    """An index of ``Ramp.shares``."""

    FLOOR = 0
    FIRST = 1
    SECOND = 2
    FULL = 3


class RampState(Struct, frozen=True, forbid_unknown_fields=True):
    """``windows``: in this stage. ``loss``: per agent so far, less what was gained."""

    stage: RampStage = RampStage.FLOOR
    windows: int = 0
    loss: float = 0.0
    withdrawn: bool = False

    def share(self, ramp: Ramp) -> float:
        """Return the policy's share of the agents."""
        return 0.0 if self.withdrawn else ramp.shares[self.stage]


def pay(state: RampState, difference: float, strata: Sequence[Stratum], ramp: Ramp) -> RampState:
    """Count a window, and what it has cost; withdraw at the end of the budget.

    By the share that the policy had: its arm may still be that of a stage before.
    """
    policy = sum(one.serving.n for one in strata)
    share = policy / (policy + sum(one.control.n for one in strata))
    loss = state.loss - share * difference
    return RampState(state.stage, state.windows + 1, loss, loss >= ramp.budget)


def rises(state: RampState, metrics: Sequence[MetricState], ramp: Ramp, block: int) -> bool:
    """Find whether each metric has the evidence for the next stage."""
    if state.stage is RampStage.FULL or state.windows < ramp.min_windows:
        return False
    least = ramp.evidence[state.stage]
    if state.stage is RampStage.FLOOR:
        return all(windows(one.climb.floor) * block >= least for one in metrics)
    return all(log_mean(one.climb.margin) >= log(least) for one in metrics)


def falls(state: RampState, metrics: Sequence[MetricState], ramp: Ramp) -> bool:
    """Find whether a metric shows that the policy has been worse since the floor."""
    return state.stage is not RampStage.FLOOR and any(
        log_mean(one.climb.worse) >= log(ramp.fall) for one in metrics
    )
