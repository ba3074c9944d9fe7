"""How far a running comparison has come: arms, windows, evidence and ramp, for people and metrics.

Read-only.
"""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.arms import Arm, Arms, in_force
from babylon_tasks.comparison.conclusion import ComparisonEvidence
from babylon_tasks.comparison.on_record import evidence_of, parameters_of, state_after
from babylon_tasks.comparison.parameters import ComparisonParameters
from babylon_tasks.counted import counted
from babylon_tasks.db import arms, comparisons, promotions
from babylon_tasks.db.comparisons import Comparison, ComparisonWindow
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import AnotherVersion
from babylon_tasks.policy_names import policy_name


class ArmShare(Struct, frozen=True):
    """An arm, what answers it, and its share of the agents."""

    arm: Arm
    policy: str
    share: float


class RampFigures(Struct, frozen=True):
    """``share``: the policy's, of the next hour; ``loss`` per agent so far, of the ``budget``."""

    stage: str
    share: float
    loss: float
    budget: float


class ComparisonFigures(Struct, frozen=True):
    """``arms``: of this hour. The other figures are those of the last window, None before it.

    ``harm``: as a part of what alarms. ``trial``: the e-value of the examinee, of the ``needed``
    one, after ``trial_windows``. ``difference``: what serves less the anchor. ``refused``: what of
    it another version has recorded, so that it cannot be gone on with, or not be shown.
    """

    id: int
    anchor: str
    began_window: str
    arms: list[ArmShare]
    windows: dict[str, int]
    last_window: str | None
    conclusion: str | None
    reason: str | None
    difference: float | None
    harm: float | None
    trial: float | None
    gain: float | None
    worse: float | None
    needed: float
    trial_windows: int
    ramp: RampFigures | None
    refused: str | None = None

    @property
    def text(self) -> str:
        """All of it in one line."""
        parts = [f"comparison {self.id} with {self.anchor}"]
        if self.arms:
            shares = (f"{one.share:.0%} {one.arm} {one.policy}" for one in self.arms)
            parts[0] += f": {', '.join(shares)}"
        else:
            parts[0] += f", from {self.began_window} on"
        parts.append(_windows(self.windows))
        if self.harm is not None:
            parts.append(f"harm {self.harm:.1%} of an alarm")
        if self.trial_windows and self.trial is not None:
            windows = counted(self.trial_windows, "window")
            parts.append(f"trial {self.trial:.3g} of {self.needed:.3g} after {windows}")
        if self.ramp is not None:
            ramp = self.ramp
            parts.append(
                f"ramp at {ramp.stage}, {ramp.share:.0%}, loss {ramp.loss:.3g} of {ramp.budget:g}"
            )
        if self.refused is not None:
            parts.append(self.refused)
        return "; ".join(parts)


def comparison_figures(connection: Connection, lineage: str) -> ComparisonFigures | None:
    """Read the running comparison's figures; None where none runs."""
    running = comparisons.running(connection, lineage)
    return None if running is None else figures_of(connection, lineage, running)


def figures_of(connection: Connection, lineage: str, found: Comparison) -> ComparisonFigures:
    """Read the figures of a comparison; its arms only while it runs."""
    last = comparisons.last(connection, found.id)
    parameters, evidence, refused = _recorded(found, last)
    reward = None if evidence is None else evidence.reward
    return ComparisonFigures(
        id=found.id,
        anchor=found.anchor_model or policy_name(lineage, found.anchor_step or 0),
        began_window=found.began_window,
        arms=[] if found.ended_at is not None else _arms(connection, lineage),
        windows=comparisons.counts(connection, found.id),
        last_window=None if last is None else last.window,
        conclusion=None if last is None else last.conclusion,
        reason=None if evidence is None else evidence.reason,
        difference=None if reward is None else reward.measured.serving,
        harm=None if evidence is None else evidence.harm / evidence.run_length,
        trial=None if reward is None else reward.margin,
        gain=None if reward is None else reward.gain,
        worse=None if reward is None else reward.worse,
        needed=1 / parameters.alpha,
        trial_windows=0 if evidence is None else evidence.trial_windows,
        ramp=_ramp(parameters, evidence),
        refused=refused,
    )


def _recorded(
    found: Comparison, last: ComparisonWindow | None
) -> tuple[ComparisonParameters, ComparisonEvidence | None, str | None]:
    """Decode what is on record as far as that goes, and say why it goes no further."""
    parameters, evidence, refused = ComparisonParameters(), None, None
    try:
        parameters = parameters_of(found.id, found.parameters)
        if last is not None and last.state is not None and found.ended_at is None:
            state_after(found.id, last.window, last.state)
    except AnotherVersion as error:
        refused = f"no window is taken: {error}"
    try:
        if last is not None and last.evidence is not None:
            evidence = evidence_of(last.window, last.evidence)
    except AnotherVersion as error:
        refused = refused or str(error)
    return parameters, evidence, refused


def _arms(connection: Connection, lineage: str) -> list[ArmShare]:
    window = arms.this_hour(connection)
    drawn = in_force(arms.since(connection, lineage, window), window)
    if drawn is None or not drawn.control_share:
        return []
    return shares(lineage, promotions.serving(connection, lineage).step, drawn)


def shares(lineage: str, serving: int, drawn: Arms) -> list[ArmShare]:
    """List the arms that have agents."""
    control = drawn.control_model or policy_name(lineage, drawn.control_step or 0)
    rest = 1 - drawn.control_share - drawn.examinee_share
    found = [
        ArmShare(Arm.SERVING, policy_name(lineage, serving), rest),
        ArmShare(Arm.CONTROL, control, drawn.control_share),
    ]
    if drawn.examinee_step is not None:
        tried = policy_name(lineage, drawn.examinee_step)
        found.append(ArmShare(Arm.EXAMINEE, tried, drawn.examinee_share))
    return found


def _ramp(
    parameters: ComparisonParameters, evidence: ComparisonEvidence | None
) -> RampFigures | None:
    if parameters.ramp is None:
        return None
    state = None if evidence is None else evidence.ramp
    if state is None:
        return RampFigures("floor", parameters.ramp.shares[0], 0.0, parameters.ramp.budget)
    stage = "withdrawn" if state.withdrawn else state.stage.name.lower()
    return RampFigures(stage, state.share(parameters.ramp), state.loss, parameters.ramp.budget)


def _windows(concluded: dict[str, int]) -> str:
    if not concluded:
        return "no window yet"
    others = ", ".join(f"{name} {n}" for name, n in concluded.items() if name != "keep")
    return counted(sum(concluded.values()), "window") + (f" ({others})" if others else "")
