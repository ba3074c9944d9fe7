"""What a ramp would have cost: the rule with simulated agents, for what was seen with real ones."""

from __future__ import annotations

import random
from collections.abc import Iterator

from compared_windows import Crowd
from msgspec import Struct

from babylon_tasks.comparison import rule
from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.comparison.parameters import ComparisonParameters
from babylon_tasks.comparison.ramp import RampStage

_MOST = 500


class Fall(Struct, frozen=True):
    """From a policy's fall to the floor: windows that were compared, and the loss per agent."""

    windows: int
    loss: float


def falls(
    parameters: ComparisonParameters,
    *,
    agents: int,
    before: float,
    after: float,
    deviation: float,
    count: int = 1000,
) -> Iterator[Fall]:
    """Let a policy rise that is better by ``before``, and fall to ``after`` at its highest share.

    One for each seed. Its arm has the agents that are drawn, as at the gateway.
    """
    for seed in range(count):
        draw = random.Random(seed)
        crowd = Crowd(draw, agents, deviation=deviation)
        state, begun, since = rule.begin(parameters), 0, 0.0
        for window in range(_MOST):
            control = rule.shares(parameters, state, examinee=False).control
            crowd.control = sum(draw.random() < control for _ in range(agents)) / agents
            found = rule.compare(parameters, state, crowd.window(after if begun else before))
            state = found.state
            assert state.ramp is not None
            if begun and found.conclusion is Conclusion.TO_FLOOR:
                yield Fall(window + 1 - begun, state.ramp.loss - since)
                break
            if not begun and state.ramp.stage is RampStage.FULL and state.ramp.windows == 1:
                begun, since = window + 1, state.ramp.loss
        else:
            raise AssertionError(f"after {_MOST} windows the policy is not at the floor")
