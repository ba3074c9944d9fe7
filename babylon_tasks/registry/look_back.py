"""Whether a checkpoint that served before is worth more today than what serves. Pure.

After a reversal what serves is sure of what was right, or of one answer to everything, and its
groups have little left to learn from. What served long before may say several things where that
one says one, and is then where learning goes on from. It is asked for only after refusals in a
row, or where agents earn less than they did: else learning goes on by itself.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from statistics import fmean
from typing import Any

from msgspec import Struct

from babylon_tasks.dataset.checkpoint_tree import Parents, path
from babylon_tasks.dataset.diversity import GroupAnswers
from babylon_tasks.dataset.held_out import Place
from babylon_tasks.held_out_hours import IN_A_ROW
from babylon_tasks.registry import near_constant
from babylon_tasks.registry.near_constant import compare_answers
from babylon_tasks.registry.paired_difference import DOUBT, PairedDifference, paired_difference
from babylon_tasks.registry.promotion_gate import CheckpointFigures, objective
from babylon_tasks.settings import Settings

_AGAIN = 5  # refusals: a dozen checkpoints are evaluated each time
_MORE = 1.25  # times as many groups since a drop, likewise


class BetterToday(Struct, frozen=True):
    """A checkpoint to return to, why, and the figures behind it."""

    step: int
    reason: str
    figures: dict[str, Any]


def is_due(refused: int) -> bool:
    """Check whether it is time after so many refusals of steps from what serves: after the second,
    and after each five."""
    return refused == IN_A_ROW or (refused > 0 and refused % _AGAIN == 0)


def compared_until(hours: Sequence[str], least: int) -> str | None:
    """Choose the hour up to which groups since a drop are compared; None: there are too few.

    ``hours``: that of each group. It stays the same until a quarter more groups are there: what
    is compared then has been compared before.
    """
    until, wanted = None, float(least)
    for groups, hour in enumerate(sorted(hours), 1):
        if groups >= wanted:
            until, wanted = hour, groups * _MORE
    return until


def choose_earlier(serving: int, parents: Parents, kept: Container[int]) -> list[int]:
    """Choose which are compared: those 1, 2, 4, ... promotions before what serves, and as many
    from the first on.

    Only those that are ``kept`` count. A few, since each is a chance of luck.
    """
    way = [step for step in path(serving, parents)[1:] if step in kept]
    near = {2**n - 1 for n in range(len(way).bit_length())}
    places = near | {len(way) - 1 - place for place in near}
    return [step for place, step in enumerate(way) if place in places]


def find_better(
    serving: CheckpointFigures,
    earlier: Sequence[CheckpointFigures],
    places: Sequence[Place],
    settings: Settings,
    recorded: Sequence[GroupAnswers] = (),
    *,
    anew: bool = False,
) -> BetterToday | None:
    """Find the best of the earlier checkpoints whose objective is higher than that of what serves
    by more than the tolerance and beyond doubt, at no lower value; None where there is none.

    The doubt is divided among them (Bonferroni): of many that are equal, one is lucky. The best is
    that with the highest objective, or, to learn ``anew``, that whose answers differ most: groups
    that what serves gives a spread are of some questions more than of others, and what is best on
    those may be an answer. Where what serves says nearly the same to everything and none is that
    much better, the one whose answers differ most is taken, of those that lead out of it at a
    value that is not lower beyond doubt.
    """
    compared = [_Earlier.of(one, serving, places, settings) for one in earlier]
    level = 1 - DOUBT / max(1, len(earlier))
    better = [one for one in compared if one.is_better(level, settings.promote_tolerance)]
    if better:
        best = max(better, key=(lambda one: one.diversity) if anew else lambda one: one.gain.mean)
        return best.taken(f"is worth more today than {serving.step}", compared)
    ways_out = [
        one
        for one in compared
        if one.leads_out(serving, recorded) and not one.is_worse(settings.promote_tolerance)
    ]
    if not ways_out:
        return None
    best = max(ways_out, key=lambda one: one.diversity)
    return best.taken(f"says more than one thing, as {serving.step} does not", compared)


class _Earlier(Struct, frozen=True):
    """An earlier checkpoint against what serves: the differences of their objectives and values."""

    figures: CheckpointFigures
    gain: PairedDifference
    value: PairedDifference

    @classmethod
    def of(
        cls,
        figures: CheckpointFigures,
        serving: CheckpointFigures,
        places: Sequence[Place],
        settings: Settings,
    ) -> _Earlier:
        ours, theirs = objective(figures, settings), objective(serving, settings)
        return cls(
            figures,
            paired_difference(ours, theirs, places),
            paired_difference(figures.values, serving.values, places),
        )

    def is_better(self, level: float, tolerance: float) -> bool:
        if not self.gain.degrees:  # of a single question the error is not known
            return False
        least = max(tolerance, self.gain.bound(level))
        return self.gain.mean > least and self.value.mean >= -tolerance

    def leads_out(self, serving: CheckpointFigures, recorded: Sequence[GroupAnswers]) -> bool:
        ours = self.figures
        if not (recorded and ours.says and ours.entropy and serving.says):
            return False  # on record from before these were counted
        return near_constant.leads_out(compare_answers(ours.says, serving.says, recorded))

    def is_worse(self, tolerance: float) -> bool:
        return self.value.mean < -max(tolerance, self.value.bound(1 - DOUBT))

    @property
    def diversity(self) -> float:
        """Its mean entropy, in nats."""
        return fmean(self.figures.entropy or (0.0,))

    def taken(self, why: str, compared: Sequence[_Earlier]) -> BetterToday:
        groups = len(self.figures.values)
        return BetterToday(
            self.figures.step,
            f"checkpoint {self.figures.step}, which served before, {why}: objective "
            f"{self.gain.mean:+.4f} ± {self.gain.error:.4f} on {groups} groups",
            {
                "groups": groups,
                "compared": [one.figures.step for one in compared],
                "difference": self.gain.mean,
                "error": self.gain.error,
                "value": self.value.mean,
            },
        )
