"""What one trajectory shows by itself."""

from __future__ import annotations

import math

import pytest
from evidence import FAILED, POST, WAIT, trade, trajectory
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.records import AgentAction, Outcome, Outcomes
from babylon_tasks.scoring.evidence import bets, evidence

NOTHING = Outcomes({}, {})
ENDED = Outcomes(
    {"m-1": Outcome(yes=True), "m-2": Outcome(yes=False)},
    {"ACME": Outcome(change=-3.0), "FLAT": Outcome(change=0.0)},
)


@pytest.mark.parametrize(
    ("decision", "right"),
    [
        (trade("buy_yes", "m-1"), True),
        (trade("BUY_NO", "m-1"), False),
        (trade("sell_yes", "m-1"), False),
        (trade("sell_no", "m-1"), True),
        (trade("buy_no", "m-2"), True),
        (AgentAction("TRADE", True, None, "ACME", "open_long"), False),
        (AgentAction("TRADE", True, None, "ACME", "open_short"), True),
        (AgentAction("TRADE", True, "ACME", None, "open_short"), True),
        (AgentAction("TRADING_DECISION", True, "m-1", None, "YES"), True),
        (AgentAction("SELL_SHARES", True, "m-1", None, "YES"), False),
        (AgentAction("BUY_SHARES", True, "m-1", None, "YES", False), False),
    ],
    ids=repr,
)
def test_a_bet_is_right_or_wrong_by_its_outcome(decision: AgentAction, right: bool) -> None:
    found = evidence(trajectory([decision]), ENDED)
    assert (found.right, found.wrong) == (int(right), int(not right))
    assert found.merit == (1.0 if right else -1.0)


@pytest.mark.parametrize(
    "decision",
    [
        trade("buy_yes", "m-open"),
        AgentAction("TRADE", True, None, "FLAT", "open_long"),
    ],
    ids=["a market that has not ended", "a price that has not moved"],
)
def test_a_bet_without_a_known_outcome_is_neither(decision: AgentAction) -> None:
    found = evidence(trajectory([decision]), ENDED)
    assert (found.right, found.wrong, found.unknown, found.merit) == (0, 0, 1, None)


def test_of_a_market_and_a_ticker_the_market_decides_and_the_ticker_while_it_is_open() -> None:
    ended = AgentAction("TRADE", True, "m-1", "ACME", "buy_yes")  # YES, while ACME fell
    still_open = AgentAction("TRADE", True, "m-open", "ACME", "buy_yes")
    found = [evidence(trajectory([one]), ENDED) for one in (ended, still_open)]
    assert [(one.right, one.wrong) for one in found] == [(1, 0), (0, 1)]


@pytest.mark.parametrize("side", ["close_position", "yesterday", ""])
def test_what_is_no_bet_has_no_outcome_to_wait_for(side: str) -> None:
    found = evidence(trajectory([trade(side)]), ENDED)
    assert (found.taken, found.right, found.wrong, found.unknown) == (1, 0, 0, 0)
    assert bets(trajectory([trade(side)]), ENDED) == []


@pytest.mark.parametrize(
    ("price", "won", "lost"),
    [(0.8, 0.25, -1.0), (0.5, 1.0, -1.0), (0.2, 1.0, -0.25), (None, 1.0, -1.0)],
    ids=str,
)
@pytest.mark.parametrize("sold", [False, True], ids=["bought", "sold"])
def test_a_bet_is_worth_what_it_won_or_lost_of_the_larger_of_stake_and_prize(
    price: float | None, won: float, lost: float, sold: bool
) -> None:
    """To sell a share at .8 is to bet on the other side at .2."""
    if price is not None and sold:
        price = 1 - price
    for side, gain in (
        (("sell_no", won), ("sell_yes", lost))
        if sold
        else (
            ("buy_yes", won),
            ("buy_no", lost),
        )
    ):
        bet = trade(side, "m-1", price=price, staked=40.0)
        found = evidence(trajectory([bet]), ENDED)
        assert found.merit == pytest.approx(gain)
        assert (found.staked, found.earned) == (
            (40.0, pytest.approx(40.0 * gain)) if price else (0.0, 0.0)
        )


@given(st.floats(0.001, 0.999), st.sampled_from(["buy_yes", "sell_yes"]))
def test_a_bet_at_a_fair_price_is_worth_nothing_on_average(price: float, side: str) -> None:
    """Else whoever makes none would earn more than a coin, or a seller of long shots would."""
    won, lost = (
        evidence(trajectory([trade(side, price=price, correct=right)]), ENDED).merit
        for right in (True, False)
    )
    chance = price if side == "buy_yes" else 1 - price
    assert won is not None
    assert lost is not None
    assert chance * won + (1 - chance) * lost == pytest.approx(0, abs=1e-9)


def test_a_failure_is_counted_and_is_neither_taken_nor_waited() -> None:
    found = evidence(trajectory([FAILED, WAIT, POST]), ENDED)
    assert (found.failed, found.waited, found.taken) == (1, 1, 1)


def test_profit_is_the_end_minus_the_beginning() -> None:
    assert evidence(trajectory((), 500, 700, 1000), NOTHING).profit == 500
    assert evidence(trajectory((), 500, 700, None), NOTHING).profit == 200
    assert evidence(trajectory((), 500), NOTHING).profit is None
    assert evidence(trajectory((), None, None, 500), NOTHING).profit is None


def test_bets_name_what_they_wait_for() -> None:
    made = [trade("buy_yes", "m-1"), trade("buy_no", "m-open"), trade(correct=True), POST]
    short = AgentAction("TRADE", True, None, "ACME", "open_short")
    assert bets(trajectory([*made, short]), ENDED) == [
        ("market", "m-1", Outcome(yes=True)),
        ("market", "m-open", Outcome()),
        ("stock", "ACME", Outcome(change=-3.0)),
    ]
    perpetual = AgentAction("TRADE", True, "ACME", None, "open_short")
    assert bets(trajectory([perpetual]), ENDED) == [("market", "ACME", Outcome(change=-3.0))]


def test_a_bet_with_two_names_is_followed_by_both() -> None:
    """Its own market's outcome counts once there is one, and until then the price's."""
    both = AgentAction("TRADE", True, "m-open", "ACME", "buy_yes")
    assert bets(trajectory([both]), ENDED) == [
        ("market", "m-open", Outcome()),
        ("stock", "ACME", Outcome(change=-3.0)),
    ]


_DECISIONS = st.lists(
    st.builds(
        AgentAction,
        action_type=st.sampled_from(["TRADE", "SELL_SHARES", "HOLD", "POST", "pending"]),
        success=st.booleans(),
        market_id=st.sampled_from([None, "m-1", "m-open"]),
        side=st.sampled_from([None, "YES", "buy_no", "sell_yes"]),
        correct=st.sampled_from([None, True, False]),
        price=st.none() | st.floats(0.001, 0.999),
        staked=st.none() | st.floats(0.01, 1e6),
    ),
    max_size=40,
)


@given(_DECISIONS)
def test_every_decision_is_counted_once_and_merit_is_bounded(decisions: list[AgentAction]) -> None:
    found = evidence(trajectory(decisions), ENDED)
    assert found.failed + found.waited + found.taken == len(decisions)
    assert found.right + found.wrong + found.unknown <= found.taken
    assert found.merit is None or -1 <= found.merit <= 1
    assert math.isfinite(found.earned)
    assert abs(found.earned) <= found.staked * (1 + 1e-9)


def test_what_is_recorded_as_right_counts_whatever_side_it_was_on() -> None:
    found = evidence(trajectory([trade("hold", correct=True), trade("hold")]), NOTHING)
    assert (found.right, found.wrong, found.unknown) == (1, 0, 0)
