"""A ramp of seeded agents, hour by hour: it rises on evidence, and falls to the floor."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from compared_windows import Crowd
from msgspec import Struct

from babylon_tasks.arms import Arms
from babylon_tasks.comparison import rule
from babylon_tasks.comparison.conclusion import Compared
from babylon_tasks.comparison.history import WindowOnRecord
from babylon_tasks.comparison.observed import ComparedWindow
from babylon_tasks.comparison.parameters import ComparisonParameters, Ramp

PARAMETERS = ComparisonParameters(ramp=Ramp())
EXTERNAL = "rules"
_BETTER, _COLLAPSED = 0.05, -0.12


class RampHour(Struct, frozen=True):
    """An hour's arms, what it showed, and what followed."""

    arms: Arms
    window: ComparedWindow
    compared: Compared


def ramp(hours: int, *, falls_at: int) -> Iterator[RampHour]:
    """500 agents; from an hour on the policy is worse than the external model."""
    crowd, state = Crowd(random.Random(1)), rule.begin(PARAMETERS)
    for number in range(hours):
        shares = rule.shares(PARAMETERS, state, examinee=True)
        crowd.control, crowd.examinee = shares.control, shares.examinee
        serving = _COLLAPSED if number >= falls_at else _BETTER
        window = crowd.window(serving, _BETTER if shares.examinee else None)
        compared = rule.compare(PARAMETERS, state, window)
        state = compared.state
        arms = Arms(
            from_window=window.window,
            salt="seeded",
            control_share=shares.control,
            control_model=EXTERNAL,
            examinee_share=shares.examinee,
            examinee_step=1 if shares.examinee else None,
        )
        yield RampHour(arms, window, compared)


def rows(hours: Sequence[RampHour]) -> list[WindowOnRecord]:
    """What is on record of these hours."""
    return [
        WindowOnRecord(
            one.window.window,
            one.compared.conclusion,
            rule.canonical(one.compared.evidence).decode(),
        )
        for one in hours
    ]
