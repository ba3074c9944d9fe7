"""Reward what bets earned, weighted by stake: for worlds that record prices and stakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from babylon_tasks.records import Evidence, Score
from babylon_tasks.scoring.comparison import Usual, rewards
from babylon_tasks.settings import Settings

_RESOLUTION = 0.01  # per unit staked


class OutcomeScorer:
    """The standing in realised return, stakes weighted by their size.

    A failed action counts as a lost stake of the trajectory's mean size; a trajectory that only
    waited returned nothing.
    """

    name: ClassVar[str] = "outcome"
    version: ClassVar[str] = "2"

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


def _returned(evidence: Evidence) -> float | None:
    """Compute the return per unit staked, in [-1, 1]; None where nothing was staked or is known."""
    priced = evidence.right + evidence.wrong
    if evidence.staked > 0:
        stake = evidence.staked / priced if priced else evidence.staked
        return (evidence.earned - evidence.failed * stake) / (
            evidence.staked + evidence.failed * stake
        )
    if evidence.failed:
        return -evidence.failed / (evidence.failed + evidence.waited + evidence.taken)
    return 0.0 if evidence.waited and not evidence.taken else None
