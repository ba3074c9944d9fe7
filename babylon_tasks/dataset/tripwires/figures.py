"""What is kept of a window that a step took, for the wires of later steps: about a kilobyte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import nsmallest
from typing import Any

import msgspec
from msgspec import Struct

from babylon_tasks.dataset.diversity import Diversity, by_kind, sampled
from babylon_tasks.dataset.keys import kind_of_key
from babylon_tasks.dataset.tripwires.watched import WatchedGroup

BINS = 20
SKETCH = 64  # the smallest hashes of answers; two windows share hashes as they share answers
KEPT = 24  # windows that a new one is compared with
_ARCHETYPES = 50


class WindowFigures(Struct, frozen=True):
    """What a step took of a window: rewards by bins of [0, 1], trajectories by archetype.

    ``answers``: what they came to, by kind of question. ``sketch``: the smallest hashes of those
    that do not come twice by chance.
    """

    scorer: str
    bins: tuple[int, ...]
    archetypes: dict[str, int] = {}
    answers: dict[str, Diversity] = {}
    sketch: tuple[int, ...] = ()

    @property
    def trajectories(self) -> int:
        """How many they were."""
        return sum(self.bins)


def as_recorded(rows: Iterable[dict[str, Any]]) -> list[WindowFigures]:
    """Decode what is on record, but for what only another version can read.

    The wires then compare a window with fewer ones, as where windows have been forgotten.
    """
    found: list[WindowFigures] = []
    for row in rows:
        try:
            one = msgspec.convert(row, WindowFigures)
        except msgspec.ValidationError:
            continue
        if len(one.bins) == BINS:
            found.append(one)
    return found


class Figures:
    """Collects them, group by group."""

    def __init__(self) -> None:
        self._bins = [0] * BINS
        self._archetypes: Counter[str] = Counter()
        self._kinds: list[str] = []
        self._sampled: list[dict[str, float]] = []

    def add(self, group: WatchedGroup) -> None:
        """Take a group into account."""
        self._kinds.append(kind_of_key(group.key))
        self._sampled.append(sampled(one.member for one in group.members))
        for one in group.members:
            self._bins[min(BINS - 1, int(one.member.reward * BINS))] += 1
            if one.facts.archetype:
                self._archetypes[one.facts.archetype] += 1

    def figures(self, scorer: str, answers: set[int]) -> WindowFigures:
        """Return them; ``answers`` are hashes."""
        return WindowFigures(
            scorer,
            tuple(self._bins),
            dict(self._archetypes.most_common(_ARCHETYPES)),
            by_kind(self._kinds, self._sampled),
            tuple(nsmallest(SKETCH, answers)),
        )
