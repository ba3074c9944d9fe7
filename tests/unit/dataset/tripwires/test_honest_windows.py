"""On data in which nothing is wrong hardly anything trips; docs/tripwires.md has these rates."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from honest_windows import Honest, long_window, rewarded, sandbox_window

from babylon_tasks.dataset.tripwires.against_outcomes import AgainstOutcomes
from babylon_tasks.dataset.tripwires.examine import examine
from babylon_tasks.dataset.tripwires.figures import KEPT, WindowFigures
from babylon_tasks.dataset.tripwires.length import Length
from babylon_tasks.dataset.tripwires.watched import watched
from babylon_tasks.tripwires import Tripwire

WINDOWS = 100  # more than four days of hours


def tripped(make: Callable[[int, int], Honest], *, seeds: int) -> Counter[Tripwire]:
    """How many windows trip each wire, each compared with those before."""
    found: Counter[Tripwire] = Counter()
    for seed in range(seeds):
        history: list[WindowFigures] = []
        for number in range(WINDOWS):
            window = make(seed, number)
            examined = examine(window.groups, window.facts, "default", history)
            found.update({trip.kind for trip in examined.trips})
            history = [examined.figures, *history][:KEPT]
    return found


def test_the_windows_of_a_sandbox_whose_policy_learns_trip_at_most_one_wire_in_200() -> None:
    found = tripped(lambda seed, n: sandbox_window(seed, n, min(0.95, 0.5 + n / 100)), seeds=3)

    assert set(found) <= {Tripwire.DISTRIBUTION}  # which only warns
    assert found.total() <= 3 * WINDOWS / 200


def test_windows_of_long_answers_and_habits_trip_at_most_one_wire_in_200() -> None:
    found = tripped(long_window, seeds=2)

    assert not {Tripwire.OUTCOME_WORDS, Tripwire.AGAINST_OUTCOMES} & set(found)
    assert found.total() <= 2 * WINDOWS / 200


def test_a_reward_that_knows_nothing_of_length_or_outcomes_hardly_ever_trips() -> None:
    found: Counter[str] = Counter()
    windows = 400
    for seed in range(windows):
        window = without_knowledge(long_window(seed, 0, keys=2, agents=30), seed)
        for wire in (Length(), AgainstOutcomes()):
            for group in window.groups:
                wire.add(watched(group, window.facts))
            found.update(trip.kind for trip in wire.trips())

    assert found.total() <= 2 * windows / 200


def without_knowledge(window: Honest, seed: int) -> Honest:
    """Rewards by agents' names and chance: some agents are always rewarded more than others."""
    draw = random.Random(seed)
    liked = {one: draw.gauss(0, 1) for one in sorted({f.agent for f in window.facts.values()})}
    return rewarded(
        window,
        [
            min(1.0, max(0.0, 0.5 + 0.2 * (liked[window.facts[id_].agent] + draw.gauss(0, 1))))
            for id_ in (one.trajectory_id for group in window.groups for one in group.members)
        ],
    )
