"""The miniature Babylon is played in hours of its own, whatever the date."""

from __future__ import annotations

import pytest

from babylon_tasks.errors import SandboxError
from babylon_tasks.sandbox import markets, miniature
from babylon_tasks.windows import WINDOW, is_held_out, window_start

SHARE = float(miniature.OPTIONS["BABYLON_HELD_OUT_SHARE"])
SEEDS = range(20)
RISING = {"up", "jumped", "rose", "advances", "climbs", "rallied"}
RISING |= {"firms", "leaps", "run", "stronger,", "bounces", "north", "strengthens"}
RISING |= {"improves", "forward", "above", "wakes"}


def played(seed: int, count: int = 40) -> list[str]:
    return markets.hours(f"demo-{seed}", SHARE, count)


def held_out(seed: int, windows: list[str]) -> list[bool]:
    return [is_held_out(window, f"demo-{seed}", SHARE) for window in windows]


def test_a_seed_has_the_same_hours_for_ever() -> None:
    assert played(0, 3) == ["2025-01-07T08:00", "2025-01-07T09:00", "2025-01-07T10:00"]


@pytest.mark.parametrize("seed", SEEDS)
def test_hours_follow_each_other_and_a_shorter_play_is_the_beginning_of_a_longer(
    seed: int,
) -> None:
    windows = played(seed)
    starts = [window_start(window) for window in windows]
    assert starts == [starts[0] + number * WINDOW for number in range(40)]
    assert all(played(seed, count) == windows[:count] for count in (1, 2, 4, 39))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_two_hours_are_held_out_and_enough_of_the_others_teach(seed: int) -> None:
    kept = held_out(seed, played(seed, 202))
    assert kept[:2] == [True, True]
    assert kept[2:6] == [False] * 4, "the shortest play has windows to train on"
    for count in range(1, 201):
        assert sum(kept[2 : 2 + count]) <= count / 5


def test_where_nothing_is_held_out_no_hour_will_do() -> None:
    with pytest.raises(SandboxError, match="another seed"):
        markets.hours("demo-0", 0, 4)


def test_after_a_reversal_headlines_hint_at_the_contrary_and_half_of_the_markets_rise() -> None:
    pairs = [
        (markets.window_markets(3, 7, 8), markets.window_markets(3, 7, 8, opposite=True)),
        (markets.held_out_markets(3, 20), markets.held_out_markets(3, 20, opposite=True)),
    ]
    for before, after in pairs:
        assert [one.rises for one in before].count(True) == len(before) / 2
        assert [one.rises for one in after].count(True) == len(after) / 2
        for market in before:
            assert market.rises == bool(RISING & set(market.question.split()))
        for market in after:
            assert market.rises != bool(RISING & set(market.question.split()))
        assert [one.id for one in before] == [one.id for one in after]
