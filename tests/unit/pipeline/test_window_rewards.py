"""The groups of a window are rewarded each by itself, with the whole window as the reference."""

from __future__ import annotations

from evidence import settings, shown

from babylon_tasks.decode import facts_of
from babylon_tasks.pipeline.rewards import WindowRewards
from babylon_tasks.records import LlmCall, Trajectory
from babylon_tasks.scoring.choice import Scorers

WINDOW = "2026-01-31T09:00"


def rewards(profits: dict[str, list[float]]) -> dict[str, list[float]]:
    """Rewards by scenario, of one trajectory for each profit."""
    chosen = settings(scorer="profit", min_group_size=2)
    call = LlmCall("m", (("user", "up or down?"),), "up", 1.0)
    with WindowRewards(chosen, WINDOW, Scorers(chosen), {}) as window:
        for scenario, earned in profits.items():
            for number, profit in enumerate(earned):
                name = f"{scenario}-{number}"
                one = Trajectory(name, name, scenario, None, None, None, (), (call,))
                window.add(facts_of(one), shown(profit=profit), "content")
        found: dict[str, list[float]] = {}
        for rewarded in window.rewards(lambda: None):
            assert rewarded.score is not None
            found.setdefault(rewarded.group, []).append(rewarded.score.reward)
    return found


def test_a_small_group_is_compared_with_what_is_usual_in_the_window() -> None:
    """Two who earned more than most are both above the middle, although one is behind the other."""
    storm = [-300.0, -200.0] * 5
    found = rewards({"calm": [100.0, 200.0], "storm": storm})
    assert 0.5 < found["calm"][0] < found["calm"][1]
    alone = rewards({"calm": [100.0, 200.0]})
    assert alone["calm"][0] < 0.5 < alone["calm"][1]
