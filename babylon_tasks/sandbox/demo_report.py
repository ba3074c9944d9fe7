"""What a demo reports of its windows, its final evaluation, and a reversal."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import msgspec
from msgspec import Struct

from babylon_tasks.decisions import Decision
from babylon_tasks.sandbox.phases import Phase
from babylon_tasks.sandbox.statistics import AVERAGED_WINDOWS, windows_until

RIGHT_AGAIN = 0.8  # of all decisions


class WindowRow(Struct, frozen=True):
    """One window of the report; ``step`` is None where no step came of it.

    ``valid`` and ``right`` are shares of all decisions, ``right_share`` that of the valid ones.
    ``decision`` is the gate's about the step, ``promote`` or ``hold``, and ``why`` its reason;
    ``rate_halved``: how often refusals have halved the rate of what is trained from what serves.
    """

    window: str
    trajectories: int
    valid: float
    right: float
    scored: int
    rejected: dict[str, int]
    profit_mean: float | None
    right_share: float | None
    step: int | None
    gradient_steps: int
    trainable_tokens: int
    served_step: int
    rate_halved: int
    decision: Decision | None
    why: str | None


class Share(Struct, frozen=True):
    """A checkpoint's results on the held-out markets; shares in [0, 1]."""

    n: int
    valid: float
    right_of_valid: float


class Interval(Struct, frozen=True):
    """A 95 % interval."""

    low: float
    high: float


class ModelComparison(Struct, frozen=True):
    """Base model and serving checkpoint on the same markets, which were never trained on.

    ``difference``: in the share of all answers that are valid and right, served minus base.
    ``unseen_phrasings``: the serving checkpoint's, where it was asked in such;
    ``right_by_unseen_phrasing`` is the share of right ones of its valid answers in each.
    """

    base: Share
    served: Share
    difference: Interval
    unseen_phrasings: Share | None = None
    right_by_unseen_phrasing: dict[str, float] | None = None


class Reversal(Struct, frozen=True):
    """What a reversal of the signal did to the share of right decisions.

    ``window`` is the first in which headlines hint at the contrary. ``before`` is the share of the
    last three windows before it, ``after`` of its first three, ``last`` of the last three that were
    played. ``right_again_after`` counts the windows from it until three in a row were right in 80 %
    of all decisions, these included; None: they never were.
    """

    window: str
    before: float
    after: float
    last: float
    right_again_after: int | None


class DemoReport(Struct, frozen=True):
    """The content of the ``--report`` file; ``reversal`` is None where the signal stayed.

    ``seconds``: of the whole; ``phases``: those of all windows, without the start and the final
    evaluation.
    """

    windows: list[WindowRow]
    evaluation: ModelComparison
    seconds: float
    phases: dict[Phase, float]
    reversal: Reversal | None = None


def reversal(rows: list[WindowRow], reverse_at: int | None) -> Reversal | None:
    """Sum up what a reversal in the ``reverse_at``-th window did; None without one."""
    if reverse_at is None:
        return None
    right = [row.right for row in rows]
    before, after = right[: reverse_at - 1], right[reverse_at - 1 :]
    return Reversal(
        window=rows[reverse_at - 1].window,
        before=fmean(before[-AVERAGED_WINDOWS:]),
        after=fmean(after[:AVERAGED_WINDOWS]),
        last=fmean(after[-AVERAGED_WINDOWS:]),
        right_again_after=windows_until(after, RIGHT_AGAIN),
    )


def write(report: Struct, path: Path) -> None:
    """Write the report as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
