"""Show the groups that a step is about to take of a window to every wire, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from babylon_tasks.dataset.tripwires.against_outcomes import AgainstOutcomes
from babylon_tasks.dataset.tripwires.distribution import distribution
from babylon_tasks.dataset.tripwires.dominance import Dominance
from babylon_tasks.dataset.tripwires.duplicates import Duplicates, trained_before
from babylon_tasks.dataset.tripwires.figures import Figures, WindowFigures
from babylon_tasks.dataset.tripwires.length import Length
from babylon_tasks.dataset.tripwires.outcome_words import OutcomeWords
from babylon_tasks.dataset.tripwires.watched import MemberFacts, watched
from babylon_tasks.records import Group
from babylon_tasks.tripwires import Trip


class Examined(Struct, frozen=True):
    """The wires that have tripped, and what later windows are compared with."""

    trips: tuple[Trip, ...]
    figures: WindowFigures


def examine(
    groups: Iterable[Group],
    facts: Mapping[str, MemberFacts],
    scorer: str,
    history: Sequence[WindowFigures],
) -> Examined:
    """Examine what a step would take of one window.

    ``facts`` by trajectory; ``history``: what steps took of windows before, the newest first.
    """
    figures, duplicates = Figures(), Duplicates()
    wires = (Length(), Dominance(history), duplicates, OutcomeWords(), AgainstOutcomes())
    for group in groups:
        with_facts = watched(group, facts)
        figures.add(with_facts)
        for wire in wires:
            wire.add(with_facts)
    now = figures.figures(scorer, duplicates.answers)
    trips = [trip for wire in wires for trip in wire.trips()]
    trips += trained_before(now, history) + distribution(now, history)
    return Examined(tuple(trips), now)
