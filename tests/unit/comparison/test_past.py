"""What agents earned before an hour is taken out of its difference, where it is known."""

from __future__ import annotations

import random
from math import sqrt

import pytest
from compared_windows import hour
from msgspec.structs import replace

from babylon_tasks.arms import Arm, Arms, draw
from babylon_tasks.comparison.agents import AgentHour, observe
from babylon_tasks.comparison.observed import ComparedWindow
from babylon_tasks.comparison.parameters import ComparisonParameters
from babylon_tasks.comparison.rule import begin, compare

P = ComparisonParameters()
ARMS = Arms(from_window=hour(0), salt="x", control_share=0.2, control_step=0)


def seen(number: int, agents: list[AgentHour]) -> ComparedWindow:
    return observe(P, ARMS, agents, hour(number), decided="")


def asked(name: str, reward: float, past: float | None, archetype: str | None = None) -> AgentHour:
    arm = draw(ARMS, name, hour(1))
    return AgentHour(
        agent=name,
        archetype=archetype,
        reward=reward,
        past=past,
        valid=1.0,
        calls=1,
        by_serving=int(arm is Arm.SERVING),
        by_control=int(arm is Arm.CONTROL),
    )


def test_an_agent_without_a_past_counts_as_the_mean_of_all() -> None:
    agents = [asked(f"a-{n}", 0.5, 0.2 if n % 2 else None) for n in range(40)]
    agents.append(replace(agents[0], agent="rich", past=0.8))

    (stratum,) = seen(1, agents).reward

    mean = (20 * 0.2 + 0.8) / 21
    arms = {Arm.SERVING: stratum.serving, Arm.CONTROL: stratum.control}
    for arm, found in arms.items():
        inside = [one for one in agents if draw(ARMS, one.agent, hour(1)) is arm]
        pasts = [mean if one.past is None else one.past for one in inside]
        assert found.past_mean == pytest.approx(sum(pasts) / len(pasts))


def test_without_anybody_s_past_there_is_none() -> None:
    (stratum,) = seen(1, [asked(f"a-{n}", 0.5, None) for n in range(40)]).reward
    assert (stratum.serving.past_mean, stratum.serving.past_variance) == (0.0, 0.0)


def test_the_guard_has_no_past() -> None:
    guarded = replace(P, guard=P.reward)
    agents = [asked(f"a-{n}", 0.5, n / 40) for n in range(40)]
    (stratum,) = observe(guarded, ARMS, agents, hour(1), decided="").guard
    assert stratum.serving.past_variance == 0.0


def test_pasts_go_with_agents_whose_archetypes_are_merged() -> None:
    agents = [asked(f"a-{n}", 0.5, 0.3, archetype=f"type-{n}") for n in range(40)]
    (stratum,) = seen(1, agents).reward
    assert stratum.serving.past_mean == pytest.approx(0.3)


def test_an_hour_without_a_past_is_measured_with_all_of_its_variance_and_forgets_nothing() -> None:
    chance = random.Random(1)
    own = {f"a-{n}": chance.uniform(0.2, 0.8) for n in range(100)}
    state = begin(P)

    def deviation(number: int, *, known: bool) -> float:
        nonlocal state
        agents = [
            asked(name, level + chance.gauss(0, 0.05), level if known else None)
            for name, level in own.items()
        ]
        found = compare(P, state, replace(seen(number, agents), complied=1.0))
        state = found.state
        size = 1 / sum(1 / arm.n for one in seen(number, agents).reward
                       for arm in (one.serving, one.control))  # fmt: skip
        measured = found.evidence.reward.measured.serving_deviation
        assert measured is not None
        return sqrt((measured**2 - P.reward.hour**2) * size)

    for number in range(1, 31):
        learned = deviation(number, known=True)
    whole = deviation(31, known=False)
    again = deviation(32, known=True)

    assert learned < 0.1
    assert whole == pytest.approx(0.18, abs=0.03)
    assert again == pytest.approx(learned, rel=0.05)
