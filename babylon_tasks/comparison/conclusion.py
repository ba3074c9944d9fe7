"""What a comparison keeps from window to window, and what it concludes."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from babylon_tasks.comparison.metric import Measured, MetricState
from babylon_tasks.comparison.missing import Missing
from babylon_tasks.comparison.ramp import RampState

HINT = 0.01  # of the run length, to which harm has come: of the detectors, a hint


class Conclusion(StrEnum):
    """What a window leads to; docs/promotion.md lists what is then done."""

    KEEP = "keep"
    PAUSE_COMPARISON = "pause_comparison"  # the window says nothing of the arms
    ROLLBACK = "rollback"
    ROLLBACK_AND_PAUSE = "rollback_and_pause"  # too often: training stops until a person looks
    PROVEN = "proven"  # the examinee, or with Proof.AVERAGE what serves, is the anchor
    PROVEN_GAIN = "proven_gain"  # the same, and better than the anchor that was
    NEXT_EXAMINEE = "next_examinee"
    RISE = "rise"  # of a ramp, by one stage
    TO_FLOOR = "to_floor"
    WITHDRAW = "withdraw"


class ComparisonState(Struct, frozen=True, forbid_unknown_fields=True):
    """All that the windows so far have left.

    ``window``: the last one. ``changed``: the last one that put another policy into an arm that
    harm is measured in. ``examinee``: the one on trial, ``trial_windows`` its windows, ``ended``
    the one before. ``rollbacks``: the windows of those that may still count. ``quiet``: the last
    window in which nothing hinted at harm.
    """

    reward: MetricState
    guard: MetricState | None = None
    window: str = ""
    changed: str = ""
    examinee: str = ""
    ended: str = ""
    trial_windows: int = 0
    rollbacks: tuple[str, ...] = ()
    quiet: str = ""
    missing: Missing = Missing()
    ramp: RampState | None = None

    @property
    def metrics(self) -> tuple[MetricState, ...]:
        """Return the reward, and the guard where there is one."""
        return (self.reward,) if self.guard is None else (self.reward, self.guard)


class MetricEvidence(Struct, frozen=True):
    """A metric's figures.

    ``harm``: of each detector in windows; their mean counts. ``margin``, ``gain``, ``worse``: the
    trial's e-values. ``bound``: that of ``Proof.AVERAGE``.
    """

    measured: Measured
    harm: tuple[float, ...]
    margin: float
    gain: float
    worse: float
    plain: int
    bound: float | None


class ComparisonEvidence(Struct, frozen=True):
    """The figures behind a conclusion, before what it resets.

    ``harm`` is in windows; when it reaches ``run_length`` the windows after ``quiet`` have shown
    it.
    """

    reason: str
    harm: float
    run_length: float
    quiet: str
    trial_windows: int
    reward: MetricEvidence
    guard: MetricEvidence | None
    ramp: RampState | None

    @property
    def detectors_are_quiet(self) -> bool:
        """Return whether no detector has come far."""
        return self.harm < HINT * self.run_length


class Compared(Struct, frozen=True):
    """What a window led to; ``ends_trial``: the examinee's arm is free. ``collapsed``: the window
    alone took what serves out, without detectors."""

    conclusion: Conclusion
    state: ComparisonState
    evidence: ComparisonEvidence
    ends_trial: bool = False
    collapsed: bool = False


class Shares(Struct, frozen=True):
    """Of the control arm and the examinee's."""

    control: float
    examinee: float
