"""What needs no detector to be seen: answers that are no answers, or come far too late.

A window of 50 calls or more in an arm shows it, beside the control arm of the same hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean

from msgspec import Struct

from babylon_tasks.arms import Arm

_CALLS = 50  # of each arm
_LESS_VALID = 0.10
_SURE = 4.0  # standard errors, each agent counted once: by chance once in 30,000 hours
_FAILED = 0.10  # more than control's, which the same server answers
_FAILED_BESIDE_ANOTHER = 0.5  # of all, where it does not: a short outage is no reason
_SLOWER = 3.0
_ANSWERED = 0.5  # of as many agents as belong to those of control
_SURE_OF_DRAWS = 6.0  # standard errors


class ArmAnswers(Struct, frozen=True):
    """The captured answers to an arm in a window.

    ``elsewhere``: those of another server, which for a checkpoint's arm is the fallback.
    ``latency_ms``: the median of the others; None without any.
    """

    arm: Arm
    calls: int
    elsewhere: int
    latency_ms: float | None


def why_unanswered(serving: int, control: int, share: float) -> str:
    """Say that what serves leaves its agents without answers; "" where nothing says so.

    An endpoint that refuses or fails leaves no captured call. ``serving`` and ``control``: agents
    that have one; ``share``: of both that were drawn for what serves. Draws are independent of all
    else, so that only their chance has to be ruled out.
    """
    if serving >= _ANSWERED * control * share / (1 - share):
        return ""
    expected = (serving + control) * share
    if expected - serving < _SURE_OF_DRAWS * sqrt(expected * (1 - share)):
        return ""
    return (
        f"what serves answered {serving} agents and the anchor {control}, and {share:.0%} of them "
        "were drawn for what serves: its endpoint fails"
    )


def why_collapsed(
    answers: Mapping[Arm, ArmAnswers], valid: Mapping[Arm, Sequence[float]], *, external: bool
) -> str:
    """Say why what serves must not go on for another hour; "" where nothing says so.

    ``valid``: the share of valid answers of each agent. ``external``: another server's model is
    the anchor, so that its speed is another matter.
    """
    serving, control = answers.get(Arm.SERVING), answers.get(Arm.CONTROL)
    if serving is None or control is None or min(serving.calls, control.calls) < _CALLS:
        return ""
    failed = serving.elsewhere / serving.calls
    beside = 0.0 if external else control.elsewhere / control.calls
    if failed - beside >= (_FAILED_BESIDE_ANOTHER if external else _FAILED):
        return (
            f"the fallback gave {failed:.0%} of {serving.calls} answers of what serves, and "
            f"{beside:.0%} of the anchor's"
        )
    if not external and serving.latency_ms and control.latency_ms:
        slower = serving.latency_ms / control.latency_ms
        if slower >= _SLOWER:
            return (
                f"what serves took {serving.latency_ms:.0f} ms for the median answer, "
                f"{slower:.1f} times as long as the anchor"
            )
    return _less_valid(valid.get(Arm.SERVING, ()), valid.get(Arm.CONTROL, ()))


def _less_valid(serving: Sequence[float], control: Sequence[float]) -> str:
    if not serving or not control:
        return ""
    ours, theirs = fmean(serving), fmean(control)
    together = fmean((*serving, *control))
    error = sqrt(together * (1 - together) * (1 / len(serving) + 1 / len(control)))
    if theirs - ours < max(_LESS_VALID, _SURE * error):
        return ""
    return f"{ours:.0%} of the answers of what serves were valid, and {theirs:.0%} of the anchor's"
