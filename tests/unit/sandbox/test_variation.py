"""What a run of the demo does otherwise than the demo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from babylon_tasks.sandbox import markets
from babylon_tasks.sandbox.variation import Variation, stale_step


def test_the_demo_itself_varies_nothing() -> None:
    drawn = markets.window_markets(3, 7, 8)

    assert Variation().settled(drawn, 3, 7) == drawn
    assert all(market.yes == market.rises for market in drawn)
    assert not any(Variation().asks_stale(agent, 16) for agent in range(16))
    assert not Variation().opposite(1_000)


def test_the_signal_turns_over_in_the_window_that_is_named_counted_from_one() -> None:
    found = [Variation(reverse_at=3).opposite(number) for number in range(4)]
    assert found == [False, False, True, True]


def test_three_in_ten_outcomes_go_against_their_headline_and_pay_so() -> None:
    variation = Variation(flipped=0.3)
    drawn = [
        market
        for number in range(200)
        for market in variation.settled(markets.window_markets(3, number, 8), 3, number)
    ]
    against = [market for market in drawn if market.surprise]

    assert 0.25 < len(against) / len(drawn) < 0.35
    for market in against:
        assert markets.profit(market, market.rises) < 0 < markets.profit(market, not market.rises)
    assert drawn[:8] == variation.settled(markets.window_markets(3, 0, 8), 3, 0)


def test_stale_answers_are_those_of_what_served_four_windows_ago() -> None:
    assert sum(Variation(stale=0.5).asks_stale(agent, 16) for agent in range(16)) == 8
    assert stale_step([0, 0, 1, 2, 2, 5]) == 0
    assert stale_step([0, 1, 2, 3, 4, 5]) == 1
    assert stale_step([7]) == 7


def words_by_direction(asked: Iterable[markets.Market]) -> dict[bool, set[str]]:
    """The words of headlines that say the one direction and never the other."""
    said: dict[bool, set[str]] = {True: set(), False: set()}
    for market in asked:
        said[market.rises].update(market.phrasing.replace(",", "").split())
    return {rises: said[rises] - said[not rises] for rises in said}


def test_unseen_phrasings_are_in_no_window_and_each_is_asked_about_as_often() -> None:
    unseen = markets.held_out_markets(3, 100, unseen=True)
    known = [market for number in range(40) for market in markets.window_markets(3, number, 16)]
    asked = Counter((market.phrasing, market.rises) for market in unseen)

    assert len(asked) == 20
    assert set(asked.values()) == {5}
    assert not {phrasing for phrasing, _ in asked} & {market.phrasing for market in known}
    said, new = words_by_direction(known), words_by_direction(unseen)
    assert said[True] & new[True] == {"up"}
    assert said[False] & new[False] == {"down"}
    assert not said[True] & new[False]
    assert not said[False] & new[True]
