"""Whether the arms have rewards for the same share of their agents.

An arm whose bad hours leave no outcome would look better than it is. Single windows are too small
to see it, so what is counted fades over about a day.
"""

from __future__ import annotations

from math import sqrt

from msgspec import Struct

from babylon_tasks.comparison.observed import ComparedWindow

_KEPT = 0.95  # of the counts in the next window
_SURE = 3.0  # standard errors


class ArmCount(Struct, frozen=True, forbid_unknown_fields=True):
    """Agents of an arm, and those of them that have a reward."""

    agents: float = 0.0
    rewarded: float = 0.0


class Missing(Struct, frozen=True, forbid_unknown_fields=True):
    """The counts of the arms; the difference is looked for between any two."""

    serving: ArmCount = ArmCount()
    control: ArmCount = ArmCount()
    examinee: ArmCount = ArmCount()


def count(missing: Missing, window: ComparedWindow) -> Missing:
    """Take a window's counts in."""
    drawn = window.drawn
    if drawn is None:
        return missing
    serving = sum(one.serving.n for one in window.reward)
    control = sum(one.control.n for one in window.reward)
    examinee = sum(one.examinee.n for one in window.reward if one.examinee is not None)
    return Missing(
        _add(missing.serving, drawn.serving, serving),
        _add(missing.control, drawn.control, control),
        _add(missing.examinee, drawn.examinee, examinee),
    )


def unequal(missing: Missing, most: float) -> str | None:
    """Name the arm that has rewards for a share of agents that differs from control's by ``most``,
    beyond chance; None where there is none."""
    control = missing.control
    for name, arm in (("serving", missing.serving), ("examinee", missing.examinee)):
        if min(arm.agents, control.agents) < 1:
            continue
        together = (arm.rewarded + control.rewarded) / (arm.agents + control.agents)
        error = sqrt(together * (1 - together) * (1 / arm.agents + 1 / control.agents))
        apart = abs(arm.rewarded / arm.agents - control.rewarded / control.agents)
        if apart > most + _SURE * error:
            return name
    return None


def _add(one: ArmCount, agents: int, rewarded: int) -> ArmCount:
    return ArmCount(_KEPT * one.agents + agents, _KEPT * one.rewarded + min(rewarded, agents))
