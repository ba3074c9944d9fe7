"""Single paths for ``bench.promotion``: a fall, a quiet time, a trial, a ramp; one seed each."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from babylon_tasks.comparison.blocks import block_for
from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.observed import ComparedWindow
from babylon_tasks.comparison.parameters import (
    ComparisonParameters,
    MetricParameters,
    Proof,
    Ramp,
    control_share,
    floor_share,
)
from babylon_tasks.comparison.ramp import RampStage, RampState
from babylon_tasks.comparison.rule import begin, compare, shares
from bench.promotion_runs import PROVEN, Run, interval, of_0_1_0, of_the_package

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from compared_windows import Crowd, heavy  # the tests' parts are no package

DEFAULTS = ComparisonParameters()
MONTH = 720  # hours
GUARD = MetricParameters()  # as in production, unless BABYLON_COMPARISON_GUARD=false
FIGURES = ("quality", "regret", "exposed", "anchors", "wrong", "rollbacks", "paused")


@dataclass
class Guarded(Crowd):
    """Agents whose valid answers are compared beside their rewards, and are alike in all arms."""

    def window(
        self, serving: float, examinee: float | None = None, control: float = 0.0
    ) -> ComparedWindow:
        """Draw the next hour, and its guard."""
        window = super().window(serving, examinee, control)
        guard = super().window(0.0, None if examinee is None else 0.0).reward
        self._number -= 1
        return ComparedWindow(window=window.window, reward=window.reward, guard=guard)


def crowd_of(parameters: ComparisonParameters) -> type[Crowd]:
    """Choose the agents that have what is compared."""
    return Crowd if parameters.guard is None else Guarded


def fall(
    seed: int,
    agents: int,
    control: float,
    before: float,
    drop: float,
    guard: MetricParameters | None = None,
) -> tuple[int, int]:
    """Count the hours from a fall to its rollback; and with an alarm by the larger detector."""
    draw = random.Random(seed)
    never = ComparisonParameters(control_share=control, run_length=1e30, guard=guard)
    crowd = crowd_of(never)(draw, agents, control)
    state = begin(never)
    for _ in range(draw.randint(24, 72)):
        state = compare(never, state, crowd.window(before)).state
    ours = largest = MONTH + 1
    for hours in range(1, MONTH + 1):
        found = compare(never, state, crowd.window(before - drop))
        state = found.state
        if found.evidence.harm >= DEFAULTS.run_length:
            ours = min(ours, hours)
        if max(found.evidence.reward.harm) >= 2 * DEFAULTS.run_length:
            largest = min(largest, hours)
        if max(ours, largest) <= MONTH:
            break
    return ours, largest


def fall_by_interval(seed: int, agents: int, control: float, before: float, drop: float) -> int:
    """Count the hours from a fall to its rollback by 0.1.0's interval over the last day.

    Before the fall what serves may become the anchor, and then falls from there; afterwards the
    fallen one may, and is not rolled back any more.
    """
    draw = random.Random(seed)
    crowd, tell = Crowd(draw, agents, control), of_0_1_0()
    for _ in range(draw.randint(24, 72)):
        if tell(crowd.window(before)).anchor:
            before = 0.0
    for hours in range(1, MONTH + 1):
        told = tell(crowd.window(before - drop))
        if told.rollback:
            return hours
        if told.anchor:
            break
    return MONTH + 1


def collapse_by_interval(seed: int, agents: int, drop: float) -> tuple[int, float]:
    """Count the hours of such a fall of what nine in ten use, and what it loses, in 720 at most."""
    hours = fall_by_interval(seed, agents, 0.1, 0.0, drop)
    return hours, 0.9 * drop * min(hours, MONTH)


def quiet(seed: int, parameters: ComparisonParameters | None, serving: float, **crowd: Any) -> int:
    """Count the false rollbacks in 2,000 hours; without parameters by 0.1.0's interval."""
    draw = random.Random(seed)
    tails = crowd.pop("tails", None)
    arms = Crowd(draw, noise=heavy(draw) if tails else None, **crowd)
    tell = of_0_1_0() if parameters is None else of_the_package(parameters)
    return sum(tell(arms.window(serving)).rollback for _ in range(2000))


def trial(
    seed: int, parameters: ComparisonParameters, truth: float, **crowd: Any
) -> tuple[bool, int]:
    """Try a checkpoint: whether it was proven, and the hours."""
    arms = crowd_of(parameters)(random.Random(seed), **crowd)
    state, hours = begin(parameters), 0
    while True:
        hours += 1
        found = compare(parameters, state, arms.window(0.0, truth))
        state = found.state
        if found.ends_trial:
            return found.conclusion in PROVEN, hours


def looks(seed: int, agents: int, truth: float) -> tuple[bool | None, int]:
    """Look at a fixed-sample interval every hour of a week: promoted, retired or neither; hours."""
    crowd = Crowd(random.Random(seed), agents, 0.2, 0.2)
    differences: list[float] = []
    for hour in range(1, 169):
        stratum = crowd.window(0.0, truth).reward[0]
        assert stratum.examinee is not None
        differences.append(stratum.examinee.mean - stratum.control.mean)
        if hour >= 6:
            low, high = interval(differences)
            if high < 0 or low > -0.02:
                return low > -0.02, hour
    return None, hour


def ramp(
    seed: int,
    agents: int,
    truth: float,
    *,
    drawn: bool = False,
    guard: MetricParameters | None = None,
) -> tuple[float, int, int]:
    """Let a policy rise: the loss in 100 hours, the highest stage, the hours to the last one.

    ``drawn``: each agent's arm is, so that their number differs from hour to hour.
    """
    floor = floor_share(agents)
    parameters = ComparisonParameters(
        ramp=Ramp(shares=(floor, 0.2, 0.5, 0.9), budget=1e9), guard=guard
    )
    crowd = crowd_of(parameters)(random.Random(seed), agents)
    state, highest, reached, loss = begin(parameters), 0, MONTH + 1, 0.0
    for hour in range(1, MONTH + 1):
        share = 1 - shares(parameters, state, examinee=False).control
        if drawn:
            share = sum(crowd.draw.random() < share for _ in range(agents)) / agents
        crowd.control = 1 - share
        state = compare(parameters, state, crowd.window(truth)).state
        loss -= share * truth if hour <= 100 else 0.0
        assert state.ramp is not None
        highest = max(highest, state.ramp.stage)
        if state.ramp.stage == 3:
            reached = min(reached, hour)
    return loss, highest, reached


def collapse(seed: int, agents: int, drop: float) -> tuple[int, float]:
    """Let a policy fall that nine in ten use: the hours to the floor, and the loss until then."""
    crowd = Crowd(random.Random(seed), agents, 0.1)
    parameters = ComparisonParameters(ramp=Ramp(budget=1e9))
    full = RampState(RampStage.FULL)
    state, loss = replace(begin(parameters), ramp=full), 0.0
    for _ in range(72):
        # A false alarm before the fall begins anew: what is measured is the true one.
        state = replace(compare(parameters, state, crowd.window(0.0)).state, ramp=full)
    for hour in range(1, MONTH + 1):
        loss += 0.9 * drop
        found = compare(parameters, state, crowd.window(-drop))
        state = found.state
        if found.conclusion is Conclusion.TO_FLOOR:
            return hour, loss
    return MONTH + 1, loss


def chosen_block(seed: int, windows: int, **crowd: Any) -> int:
    """Choose a block from so many hours of frozen arms."""
    arms = Crowd(random.Random(seed), **crowd)
    differences = []
    for _ in range(windows):
        stratum = arms.window(0.0, 0.0).reward[0]
        assert stratum.examinee is not None
        differences.append(stratum.examinee.mean - stratum.control.mean)
    return block_for([differences], 0.02)


def whole(seed: int, scenario: str, rule: str, agents: int) -> dict[str, float]:
    """Run 60 days under one rule; returns its figures."""
    run = _run(seed, scenario, rule, agents).go()
    return {name: float(getattr(run, name)) for name in FIGURES}


def _run(seed: int, scenario: str, rule: str, agents: int) -> Run:
    share = control_share(agents)
    given: dict[str, Any] = {"agents": agents, "control": share, "examinee": share}
    if rule == "evidence waived":
        return Run(seed, scenario, None, **given)
    if rule == "0.1.0's interval":
        return Run(seed, scenario, of_0_1_0(), **(given | {"examinee": 0.0}))
    parameters = ComparisonParameters(control_share=share, examinee_share=share)
    if rule == "two models":
        parameters = ComparisonParameters(
            control_share=share, examinee_share=0.0, proof=Proof.AVERAGE
        )
        return Run(seed, scenario, of_the_package(parameters), **(given | {"examinee": 0.0}))
    if rule == "with a guard":
        guard = MetricParameters(deviation=0.4, collapse=None)
        parameters = ComparisonParameters(guard=guard)
        return Run(seed, scenario, of_the_package(parameters), guarded=True, **given)
    return Run(seed, scenario, of_the_package(parameters), **given)
