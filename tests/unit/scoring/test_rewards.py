"""Rewards are made inside the group: merit decides, activity breaks ties, hiding never pays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from statistics import fmean
from typing import Any

import pytest
from evidence import FAILED, POST, WAIT, bettor, settings, shown, trade, trajectory
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.errors import SettingsError
from babylon_tasks.records import AgentAction, Evidence, Outcomes
from babylon_tasks.scoring.base import Scorer
from babylon_tasks.scoring.choice import load_scorer
from babylon_tasks.scoring.default import decisions
from babylon_tasks.scoring.evidence import evidence

POSTER = shown(taken=20)


@cache
def _usual() -> Scorer:
    return load_scorer(settings())


def rewards(
    members: Sequence[Evidence], reference: Sequence[Evidence] | None = None, **values: Any
) -> list[float | None]:
    scorer = load_scorer(settings(**values)) if values else _usual()
    found = scorer.rewards(members, reference or members)
    return [None if score is None else score.reward for score in found]


def test_profit_and_decisions_weigh_as_the_settings_say() -> None:
    """Whoever is ahead in one component and behind in the other: the weightier one decides."""
    rich = bettor(0, 2, profit=100.0)
    right = bettor(2, 0, profit=-100.0)
    first, second = rewards([rich, right])
    assert first is not None
    assert second is not None
    assert first > second
    weights = {"profit": 0.1, "decisions": 0.9, "activity": 0.0}
    first, second = rewards([rich, right], reward_weights=weights)
    assert first is not None
    assert second is not None
    assert first < second


def test_the_table_of_the_first_version_comes_out_in_the_right_order() -> None:
    """A reward for activity and for missing evidence taught to post and to hide."""
    won = bettor(1, 0, profit=250.0)
    lost_and_posted = bettor(0, 1, profit=-40.0, taken=20)
    pending = shown(unknown=1, taken=1)
    found = rewards([POSTER, lost_and_posted, won, pending])
    assert found[0] is None  # activity alone is no evidence
    assert found[3] is None  # nor is a bet that nobody can judge yet
    assert found[2] is not None
    assert found[1] is not None
    assert found[2] > 0.5 > found[1]


def test_a_group_that_differs_in_activity_only_has_no_spread() -> None:
    assert rewards([shown(profit=0.0, taken=n) for n in (0, 5, 20)]) == [0.5, 0.5, 0.5]


def test_activity_breaks_ties_and_never_more() -> None:
    idle, busy = bettor(1, 0, taken=1), bettor(1, 0, taken=20)
    wrong = bettor(0, 1, taken=20)
    first, second, third = rewards([idle, busy, wrong])
    assert first is not None
    assert second is not None
    assert third is not None
    assert third < first < second
    assert second - first < (first - third) / 10


def test_activity_never_overtakes_a_reward_that_is_better_by_little() -> None:
    first, second = shown(profit=1.0, taken=0), shown(profit=0.0, taken=20)
    far = [shown(profit=-900.0, taken=20), shown(profit=900.0)]
    better, worse, *_ = rewards([first, second, *far])
    assert better is not None
    assert worse is not None
    assert better > worse


@pytest.mark.parametrize(
    "evader",
    [
        shown(failed=1),
        shown(failed=3, waited=1),
        shown(waited=1),
        shown(waited=2, unknown=0),
        shown(profit=None, taken=5),
        shown(profit=0.0, taken=5),
        shown(failed=1, taken=9),
        bettor(1, 0, failed=1),
    ],
    ids=[
        "fails on purpose",
        "fails, then waits",
        "says nothing",
        "ends early",
        "posts instead",
        "posts instead, profit known",
        "hides a failure among posts",
        "wins one, breaks one",
    ],
)
@pytest.mark.parametrize("peers", ["coins", "better than coins", "worse than coins"])
def test_avoiding_evidence_earns_no_more_than_a_coin(evader: Evidence, peers: str) -> None:
    """A coin: half of its bets right. Cursor's agents broke their tool calls to escape a loss."""
    others = {
        "coins": [bettor(1, 0), bettor(0, 1)] * 4,
        "better than coins": [bettor(1, 0)] * 6 + [bettor(0, 1)] * 2,
        "worse than coins": [bettor(1, 0)] * 2 + [bettor(0, 1)] * 6,
    }[peers]
    coin = bettor(1, 1)
    profits = [evader.profit] * 9 if evader.profit is not None else [None] * 9
    company = [*others, coin]
    if evader.profit is not None:
        company = [
            Evidence(**{f: getattr(one, f) for f in one.__struct_fields__} | {"profit": value})
            for one, value in zip(company, profits, strict=True)
        ]
    *_, coins, avoided = rewards([*company, evader])
    assert coins is not None
    assert avoided is None or avoided <= coins + 1e-9


def test_hidden_profit_is_worth_no_more_than_none_and_no_more_than_the_mean() -> None:
    losing = [shown(profit=-100.0), shown(profit=-300.0), shown(profit=None, right=1, merit=1.0)]
    won, lost, hidden = rewards(losing, reward_weights=_PROFIT)
    assert (won, lost, hidden) == (won, lost, pytest.approx(0.5, abs=0.05))
    winning = [shown(profit=100.0), shown(profit=300.0), shown(profit=None, right=1, merit=1.0)]
    less, more, hidden = rewards(winning, reward_weights=_PROFIT)
    assert hidden is not None
    assert less is not None
    assert more is not None
    assert hidden < less < more


def test_beside_losers_waiting_earned_nothing_and_a_bet_without_outcome_the_mean() -> None:
    """Else a bet that nobody can rate yet would be better than most that can be rated."""
    losers = [bettor(0, 1, profit=0.0)] * 3 + [bettor(1, 0, profit=0.0)]
    waiting, pending = shown(profit=0.0, waited=1), shown(profit=0.0, unknown=1, taken=1)
    weights = {"profit": 0.0, "decisions": 1.0, "activity": 0.0}

    *_, waited, unknown = rewards([*losers, waiting, pending], reward_weights=weights)

    assert waited is not None
    assert unknown is not None
    assert waited > 0.5 > unknown


@pytest.mark.parametrize("price", [0.05, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("evader", [[WAIT], [FAILED, *[POST] * 19]], ids=["waits", "breaks one"])
def test_in_a_fair_market_avoiding_evidence_earns_no_more_than_a_coin(
    price: float, evader: list[AgentAction]
) -> None:
    """Long shots too: they seldom win, and are paid for it."""
    random = Random(f"{price} {len(evader)}")

    @cache
    def shows(*decisions: AgentAction) -> Evidence:
        return evidence(trajectory(list(decisions)), Outcomes({}, {}))

    coins, avoided = [], []
    for _ in range(400):
        members = [shows(*evader)]
        for _ in range(8):
            yes = random.random() < 0.5
            paid = price if yes else 1 - price
            won = random.random() < paid
            bet = trade("buy_yes" if yes else "buy_no", correct=won, price=paid, staked=40.0)
            members.append(shows(bet))
        first, *rest = rewards(members)
        avoided.append(first or 0.0)
        coins += [reward or 0.0 for reward in rest]
    # The standard error of the difference is 0.006 at most.
    assert fmean(avoided) <= fmean(coins) + 0.02


_PROFIT = {"profit": 1.0, "decisions": 0.0, "activity": 0.0}


def test_the_noise_of_a_float_is_no_spread() -> None:
    assert rewards([shown(profit=10.0), shown(profit=10.0 + 1e-6)]) == [0.5, 0.5]


@pytest.mark.parametrize("luck", [1e300, -1e300])
def test_one_windfall_or_ruin_leaves_the_others_their_differences(luck: float) -> None:
    found, better, worse = rewards([shown(profit=luck), shown(profit=900.0), shown(profit=-900.0)])
    assert found is not None
    assert better is not None
    assert worse is not None
    assert better - worse > 0.05
    assert found > better if luck > 0 else found < worse


def test_a_small_group_is_drawn_towards_the_rest_of_the_window() -> None:
    """Two members are one deviation apart whatever they did; the window knows what is usual."""
    window = [bettor(1, 0)] * 10 + [bettor(0, 1)] * 10
    pair = [bettor(1, 0), bettor(2, 1)]
    alone, beside = rewards(pair), rewards(pair, window)
    assert None not in alone + beside
    assert fmean(beside) > fmean(alone)  # type: ignore[arg-type]  # both did better than most


_EVIDENCE = st.builds(
    lambda profit, right, wrong, failed, waited, posts: shown(
        profit=profit,
        right=right,
        wrong=wrong,
        failed=failed,
        waited=waited,
        taken=right + wrong + posts,
        merit=(right - wrong) / (right + wrong) if right + wrong else None,
    ),
    st.none() | st.floats(-1e9, 1e9),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 30),
)


@given(
    st.lists(_EVIDENCE, min_size=1, max_size=24), st.sampled_from(["default", "profit", "outcome"])
)
def test_every_reward_lies_between_nothing_and_one(members: list[Evidence], scorer: str) -> None:
    for reward in rewards(members, scorer=scorer):
        assert reward is None or 0 <= reward <= 1


@given(st.lists(_EVIDENCE, min_size=2, max_size=24), st.randoms())
def test_the_order_of_members_does_not_matter(members: list[Evidence], random: Any) -> None:
    order = list(range(len(members)))
    random.shuffle(order)
    shuffled = rewards([members[n] for n in order], members)
    straight = rewards(members)
    for place, number in enumerate(order):
        assert shuffled[place] == straight[number]


def test_the_profit_scorer_looks_at_nothing_else() -> None:
    found = rewards([bettor(3, 0, profit=1.0), bettor(0, 3, profit=100.0), POSTER], scorer="profit")
    assert found[2] is None
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] < 0.5 < found[1]


def test_the_outcome_scorer_weighs_stakes() -> None:
    careful = shown(right=1, wrong=1, taken=2, merit=0.0, staked=110.0, earned=90.0)
    careless = shown(right=1, wrong=1, taken=2, merit=0.0, staked=110.0, earned=-90.0)
    failed = shown(failed=1)
    found = rewards([careful, careless, failed, POSTER], scorer="outcome")
    assert found[3] is None
    assert found[0] is not None
    assert found[1] is not None
    assert found[2] is not None
    assert found[0] > found[1] > found[2]


def test_for_the_outcome_scorer_waiting_returned_nothing_and_a_trade_without_price_is_unknown() -> (
    None
):
    won = shown(right=1, taken=1, merit=1.0, staked=40.0, earned=40.0)
    found = rewards([won, shown(waited=1), shown(waited=1, taken=1)], scorer="outcome")
    assert found[1] is not None
    assert found[2] is None


def test_a_stake_of_less_than_one_counts_as_any_other() -> None:
    won = shown(right=1, taken=1, merit=1.0, staked=0.5, earned=0.5)
    lost = shown(wrong=1, taken=1, merit=-1.0, staked=0.5, earned=-0.5)
    found = rewards([won, lost], scorer="outcome")
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] > found[1]


@pytest.mark.parametrize(
    ("shows", "returned"),
    [
        ({"right": 1, "wrong": 1, "staked": 20.0, "earned": 5.0, "failed": 1}, -1 / 6),
        ({"staked": 20.0, "earned": 5.0}, 0.25),
        ({"failed": 1, "waited": 2, "taken": 1}, -0.25),
        ({"waited": 1}, 0.0),
    ],
)
def test_what_a_trajectory_returned_is_per_unit_staked_a_failure_being_a_stake_lost(
    shows: dict[str, Any], returned: float
) -> None:
    (score,) = load_scorer(settings(scorer="outcome")).rewards([shown(**shows)], [shown(**shows)])
    assert score is not None
    assert score.components == pytest.approx({"returned": returned})


@pytest.mark.parametrize(
    ("shows", "merit"),
    [
        ({"failed": 1}, -1.0),
        ({"failed": 1, "waited": 2, "taken": 1}, -0.25),
        ({"failed": 1, "waited": 2, "taken": 1, "merit": 0.5}, 0.125),
        ({"waited": 2, "taken": 1, "merit": 0.5}, 0.5),
        ({"waited": 2, "taken": 1}, None),
    ],
)
def test_failures_cost_decisions_their_share_of_all_that_was_tried(
    shows: dict[str, Any], merit: float | None
) -> None:
    assert decisions(shown(**shows)) == merit


def test_beside_decisions_only_waiting_alone_is_evidence_of_nothing_gained() -> None:
    won, lost = bettor(2, 0), bettor(0, 2)
    nothing, active, waiting = shown(), shown(waited=1, taken=1), shown(waited=1)
    *_, one, two, three = rewards([won, lost, nothing, active, waiting])
    assert (one, two) == (None, None)
    assert three is not None
    assert rewards([waiting, shown(waited=2)]) == [None, None]


def test_an_unknown_scorer_is_an_error_of_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"vibes, .* default, profit, outcome"):
        load_scorer(settings(scorer="vibes"))
