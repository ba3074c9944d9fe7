"""What a run of the demo does otherwise than the demo."""

from __future__ import annotations

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


def test_unseen_phrasings_are_in_no_window_and_hint_at_the_outcome() -> None:
    unseen = markets.held_out_markets(3, 100, unseen=True)
    words = ("is up", "jumped", "is down", "dropped")

    assert not any(word in market.question for market in unseen for word in words)
    for market in unseen:
        assert market.rises == ("gained" in market.question or "soars" in market.question)
