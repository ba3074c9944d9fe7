"""Length and outcomes: what trips, and what must not."""

from __future__ import annotations

import pytest
from honest_windows import Honest, long_window, rewarded, sandbox_window
from msgspec import structs

from babylon_tasks.dataset.tripwires.examine import examine
from babylon_tasks.dataset.tripwires.length import length
from babylon_tasks.dataset.tripwires.rank_correlation import RankCorrelation
from babylon_tasks.records import LlmCall, Member
from babylon_tasks.tripwires import Trip, Tripwire


def trips(window: Honest, kind: Tripwire) -> list[Trip]:
    found = examine(window.groups, window.facts, "default", []).trips
    return [trip for trip in found if trip.kind is kind]


def members(window: Honest) -> list[Member]:
    return [one for group in window.groups for one in group.members]


@pytest.mark.parametrize(("sign", "which"), [(1, "longer"), (-1, "shorter")])
def test_a_reward_that_follows_length_trips(sign: int, which: str) -> None:
    window = long_window(1, 0)
    by_length = [0.5 + sign * min(0.5, length(one) / 400) for one in members(window)]

    (trip,) = trips(rewarded(window, by_length), Tripwire.LENGTH)

    assert which in trip.what
    assert trip.measured * sign > 0.9
    assert trip.severity == pytest.approx(abs(trip.measured) / 0.5)
    assert trip.evidence["agents"] >= 20


def test_answers_of_one_length_never_trip() -> None:
    assert trips(sandbox_window(1, 0, 0.6, unreadable=0.2), Tripwire.LENGTH) == []


def test_rewards_that_are_turned_round_trip() -> None:
    """The harm of issue 12: the rewards of some windows are flipped."""
    for window in (sandbox_window(1, 0, 0.7), long_window(1, 0)):
        assert trips(window, Tripwire.AGAINST_OUTCOMES) == []

        turned = rewarded(window, [1 - one.reward for one in members(window)])
        (trip,) = trips(turned, Tripwire.AGAINST_OUTCOMES)

        assert trip.measured < -0.8
        assert trip.bound == -0.3


def test_what_has_no_known_outcome_cannot_be_against_it() -> None:
    window = long_window(1, 0)
    unknown = {name: structs.replace(f, merit=None) for name, f in window.facts.items()}
    turned = rewarded(window, [1 - one.reward for one in members(window)])

    assert trips(Honest(turned.groups, unknown), Tripwire.AGAINST_OUTCOMES) == []


def test_a_few_agents_are_no_proof() -> None:
    """Twelve trajectories of three agents: three witnesses."""
    found = RankCorrelation()
    for start in range(4):
        found.add([1, 2, 3], [1, 2, 3], ["a", "b", f"c-{start}"])
    few = RankCorrelation()
    for _ in range(4):
        few.add([1, 2, 3], [1, 2, 3], ["a", "b", "c"])

    many_agents, three_agents = found.result(), few.result()

    assert many_agents is not None
    assert three_agents is not None
    assert many_agents.coefficient == three_agents.coefficient == pytest.approx(1)
    assert three_agents.errors < 3**0.5
    assert many_agents.errors > three_agents.errors


def test_groups_of_one_value_say_nothing_and_equal_values_share_a_rank() -> None:
    found = RankCorrelation()
    found.add([1, 1, 1], [1, 2, 3], ["a", "b", "c"])
    assert found.result() is None

    found.add([1, 1, 2, 2], [5, 5, 9, 9], ["a", "b", "c", "d"])
    result = found.result()

    assert result is not None
    assert result.coefficient == pytest.approx(1)
    assert (result.trajectories, result.agents) == (4, 4)


def test_length_is_in_characters_where_tokens_are_not_known() -> None:
    call = LlmCall("m", (("user", "?"),), "abcde", 1.0)
    assert length(Member("t", 0.5, (call, call))) == 10


@pytest.mark.parametrize("kind", ["token_ids", "logprobs"])
def test_who_lacks_one_record_of_tokens_is_not_taken_for_longer(kind: str) -> None:
    """Those of every second agent are known otherwise, or not at all; a token has 10 characters."""
    window = long_window(1, 0)
    lacks = {"token_ids": None} if kind == "token_ids" else {"token_ids": None, "logprobs": None}
    groups = []
    for group in window.groups:
        made = []
        for place, one in enumerate(group.members):
            (call,) = one.calls
            call = structs.replace(call, response="0123456789" * len(call.logprobs or ()))
            half = structs.replace(call, **lacks) if place % 2 else call
            made.append(structs.replace(one, reward=0.4 + place % 2 / 5, calls=(half,)))
        groups.append(structs.replace(group, members=tuple(made)))

    assert trips(Honest(groups, window.facts), Tripwire.LENGTH) == []
