"""Dominance, duplicates and distributions: what trips, and what must not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from honest_windows import Honest, long_window, rewarded, sandbox_window
from msgspec import structs, to_builtins

from babylon_tasks.dataset.tripwires.distribution import distance
from babylon_tasks.dataset.tripwires.examine import Examined, examine
from babylon_tasks.dataset.tripwires.figures import BINS, KEPT, SKETCH, WindowFigures, as_recorded
from babylon_tasks.records import Group, Member
from babylon_tasks.tripwires import Trip, Tripwire


def examined(window: Honest, history: Sequence[WindowFigures] = ()) -> Examined:
    return examine(window.groups, window.facts, "default", history)


def trips(window: Honest, kind: Tripwire, history: Sequence[WindowFigures] = ()) -> list[Trip]:
    return [trip for trip in examined(window, history).trips if trip.kind is kind]


def before(count: int = KEPT) -> list[WindowFigures]:
    return [examined(long_window(1, number)).figures for number in range(1, count + 1)]


# --- dominance


def test_an_agent_with_half_of_the_trajectories_trips() -> None:
    window = long_window(1, 0)
    half = {
        name: structs.replace(facts, agent="agent-1" if place % 2 else facts.agent)
        for place, (name, facts) in enumerate(window.facts.items())
    }

    (trip,) = trips(Honest(window.groups, half), Tripwire.DOMINANCE)

    assert trip.evidence["agent"] == "agent-1"
    assert trip.measured >= 0.5


def test_an_agent_that_is_alone_in_what_it_is_paid_trips() -> None:
    window = long_window(1, 0)
    own = {name: structs.replace(facts, agent=name[-2:]) for name, facts in window.facts.items()}
    paid = [float(one.trajectory_id.endswith("-3")) for g in window.groups for one in g.members]

    found = trips(rewarded(Honest(window.groups, own), paid), Tripwire.DOMINANCE)

    assert [(trip.evidence["agent"], trip.evidence["of"]) for trip in found] == [("-3", "weight")]


def test_an_archetype_that_suddenly_has_most_of_a_step_trips() -> None:
    window = long_window(1, 0)
    of_one = {n: structs.replace(facts, archetype="liar") for n, facts in window.facts.items()}

    (trip,) = trips(Honest(window.groups, of_one), Tripwire.DOMINANCE, before())

    assert trip.evidence["archetype"] == "liar"
    assert trips(Honest(window.groups, of_one), Tripwire.DOMINANCE, before(7)) == []
    always = [structs.replace(one, archetypes={"liar": one.trajectories}) for one in before()]
    assert trips(Honest(window.groups, of_one), Tripwire.DOMINANCE, always) == []


def test_three_agents_each_have_much_of_it_and_small_windows_say_nothing() -> None:
    window = long_window(1, 0, agents=3)
    assert trips(window, Tripwire.DOMINANCE) == []
    assert trips(Honest(window.groups[:1], window.facts), Tripwire.DOMINANCE) == []


# --- duplicates


def test_answers_that_were_recorded_twice_trip() -> None:
    window = long_window(1, 0)
    twice = [*window.groups[:5], again(window.groups[0])]
    facts = window.facts | {f"{name}-again": facts for name, facts in window.facts.items()}

    (trip,) = trips(Honest(twice, facts), Tripwire.DUPLICATES)

    assert 14 <= trip.evidence["again"] <= 16  # of answers of a few tokens nobody knows
    assert trip.evidence["examples"][0].endswith("-again")


def again(group: Group) -> Group:
    members = [Member(f"{one.trajectory_id}-again", one.reward, one.calls) for one in group.members]
    return Group(group.window_id, group.key, tuple(members))


def test_short_answers_to_the_same_question_are_no_duplicates() -> None:
    """In the sandbox sixteen agents are asked the same, and say Yes or No."""
    assert trips(sandbox_window(1, 0, 0.7), Tripwire.DUPLICATES) == []


def test_prompts_that_do_not_say_what_is_asked_trip() -> None:
    window = long_window(1, 0)
    nothing = (("user", "Decide."),)
    groups = [
        Group(
            group.window_id,
            group.key,
            tuple(
                Member(
                    one.trajectory_id,
                    one.reward,
                    tuple(structs.replace(call, messages=nothing) for call in one.calls),
                )
                for one in group.members
            ),
        )
        for group in window.groups
    ]

    (trip,) = trips(Honest(groups, window.facts), Tripwire.DUPLICATES)

    assert "do not say what is asked" in trip.what
    archetypes_alone = [
        Group(group.window_id, f"archetype={number}", group.members)
        for number, group in enumerate(groups)
    ]
    assert trips(Honest(archetypes_alone, window.facts), Tripwire.DUPLICATES) == []


def test_an_hour_that_is_imported_again_under_other_ids_trips() -> None:
    history = [examined(long_window(1, number)).figures for number in (3, 2, 1)]
    window = long_window(1, 2)
    imported = [again(group) for group in window.groups]
    facts = {f"{name}-again": facts for name, facts in window.facts.items()}

    (trip,) = trips(Honest(imported, facts), Tripwire.DUPLICATES, history)

    assert trip.evidence["windows_before"] == 2
    assert trip.measured == 1.0
    assert trips(long_window(1, 4), Tripwire.DUPLICATES, history) == []


# --- distribution


def test_rewards_that_suddenly_spread_otherwise_trip() -> None:
    window, history = long_window(1, 0), before()
    draw = random.Random(1)
    extreme = [float(draw.random() < 0.5) for group in window.groups for _ in group.members]

    (trip,) = trips(rewarded(window, extreme), Tripwire.DISTRIBUTION, history)

    assert trip.measured > trip.bound >= 2 * trip.evidence["usual"]
    assert sum(trip.evidence["bins"]) == 96
    assert trips(window, Tripwire.DISTRIBUTION, history) == []


def test_a_change_that_stays_becomes_what_is_usual() -> None:
    draw = random.Random(2)
    history = before()
    warned = 0
    for number in range(KEPT):
        window = long_window(2, number)
        rewards = [float(draw.random() < 0.5) for group in window.groups for _ in group.members]
        found = examined(rewarded(window, rewards), history)
        warned += any(trip.kind is Tripwire.DISTRIBUTION for trip in found.trips)
        history = [found.figures, *history][:KEPT]

    assert 1 <= warned <= 4


def test_windows_of_another_scorer_and_a_short_history_say_nothing() -> None:
    window = long_window(1, 0)
    extreme = rewarded(window, [0.0, 1.0] * 48)
    others = [structs.replace(one, scorer="ruler") for one in before()]

    assert trips(extreme, Tripwire.DISTRIBUTION, others) == []
    assert trips(extreme, Tripwire.DISTRIBUTION, before(7)) == []


def test_the_distance_is_that_of_the_cumulated_shares() -> None:
    assert distance([1, 0, 0], [0, 0, 5]) == 1.0
    assert distance([1, 1, 2], [2, 2, 4]) == 0.0
    assert distance([1, 0, 1], [0, 2, 0]) == pytest.approx(0.5)


# --- what is kept


def test_a_step_is_looked_at_in_one_pass() -> None:
    window = long_window(1, 0)
    once = examine(iter(window.groups), window.facts, "default", before())
    assert once == examined(window, before())


def test_figures_stay_small_whatever_the_step() -> None:
    large = long_window(1, 0, keys=40, size=100, agents=500)
    figures = examined(large).figures

    assert figures.trajectories == 4000
    assert (len(figures.bins), len(figures.sketch)) == (BINS, SKETCH)
    assert figures.archetypes.keys() == {"trader", "degen", "liar"}


def test_what_only_another_version_can_read_is_left_out() -> None:
    known = to_builtins(before(1)[0])

    rows = [known, known | {"bins": [1, 2]}, known | {"bins": "1,2"}, {"histogram": []}]

    assert as_recorded(rows) == before(1)
