"""How a row of Babylon's differs now from what a step was trained on. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from babylon_tasks.records import LlmCall, Member, RawTrajectory

_TEXT = ("messages", "response")


class DifferenceKind(StrEnum):
    """What differs."""

    DELETED = "deleted"  # the row is gone
    MOVED = "moved"  # to another window
    FLAGGED = "flagged"  # it must no longer be trained on
    TEXT = "text"  # what was asked or answered
    SAMPLING = "sampling"  # how the answer was sampled: tokens, log-probabilities, policy
    OUTCOME = "outcome"  # how a market of its bets ended


class RowDifference(Struct, frozen=True):
    """One difference of one trajectory; ``detail`` is for people."""

    trajectory_id: str
    window: str
    kind: DifferenceKind
    detail: str


def flags(raw: RawTrajectory) -> list[str]:
    """List the flags for which a row is not trained on any more.

    That it is marked as used does not count: the step itself has marked it.
    """
    found = {
        "isEvaluation is set": raw.is_evaluation,
        "isTrainingData is not set": not raw.is_training_data,
    }
    return [flag for flag, is_set in found.items() if is_set]


def member_differences(kept: Member, now: Member) -> Iterator[tuple[DifferenceKind, str]]:
    """Compare a trajectory's calls as they were trained on with those of its row now."""
    if len(kept.calls) != len(now.calls):
        yield DifferenceKind.TEXT, f"{len(now.calls)} calls instead of {len(kept.calls)}"
        return
    places = kept.places or range(len(kept.calls))
    for place, before, after in zip(places, kept.calls, now.calls, strict=True):
        fields = [
            name
            for name in LlmCall.__struct_fields__
            if getattr(before, name) != getattr(after, name)
        ]
        for kind, names in (
            (DifferenceKind.TEXT, [name for name in fields if name in _TEXT]),
            (DifferenceKind.SAMPLING, [name for name in fields if name not in _TEXT]),
        ):
            if names:
                yield kind, f"call {place}: {', '.join(names)}"
