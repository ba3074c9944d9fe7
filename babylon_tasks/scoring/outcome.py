"""Reward what bets earned, weighted by stake: for worlds that record prices and stakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from babylon_tasks.records import Evidence, Score
from babylon_tasks.scoring.comparison import Usual, rewards
from babylon_tasks.settings import Settings

_RESOLUTION = 0.01  # of a unit staked


class OutcomeScorer:
    """The standing in realised return, stakes weighed by their size.

    A decision that failed has lost a stake of the trajectory's mean size; a trajectory that only
    waited has returned nothing.
    """

    name: ClassVar[str] = "outcome"
    version: ClassVar[str] = "1"

    def __init__(self, settings: Settings) -> None:
        del settings
        self.usual = Usual({"returned": _returned})

    def rewards(
        self, members: Sequence[Evidence], reference: Sequence[Evidence]
    ) -> Sequence[Score | None]:
        """Compare the members whose return is known."""
        returned = [_returned(one) for one in members]
        usual = self.usual.among(reference)["returned"]
        return [
            None if reward is None or value is None else Score(reward, {"returned": value})
            for value, reward in zip(returned, rewards(returned, usual, _RESOLUTION), strict=True)
        ]


def _returned(shown: Evidence) -> float | None:
    """What a unit staked earned, in [-1, 1]; None where nothing was staked or is known."""
    priced = shown.right + shown.wrong
    if shown.staked > 0:
        stake = shown.staked / priced if priced else shown.staked
        return (shown.earned - shown.failed * stake) / (shown.staked + shown.failed * stake)
    if shown.failed:
        return -shown.failed / (shown.failed + shown.waited + shown.taken)
    return 0.0 if shown.waited and not shown.taken else None
