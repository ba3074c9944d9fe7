"""What a recorded bet was on and what it cost: as Babylon executed it, not as it was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from factories import step
from raw_rows import decoded, raw

from babylon_tasks.decode import decode, decode_facts, facts_of
from babylon_tasks.records import AgentAction, Facts, Outcome, Outcomes, Trajectory
from babylon_tasks.scoring.evidence import evidence

ENDED = Outcomes({"m-1": Outcome(yes=True)}, {"ACME": Outcome(change=-3.0)})


def acted(
    result: dict[str, Any] | None = None,
    *,
    kind: str = "TRADE",
    balance: object = 1000,
    **parameters: Any,
) -> AgentAction:
    """The action of a step as both decoders read it, of a bet on YES of m-1 if nothing else."""
    asked = {"marketType": "prediction", "marketId": "m-1", "side": "buy_yes"} | parameters
    done = {"actionType": kind, "parameters": asked, "success": True, "result": result}
    recorded = step(action=done)
    recorded["environmentState"]["agentBalance"] = balance
    row = raw([recorded])
    whole, facts = decode(row), decode_facts(row)
    assert isinstance(whole, Trajectory)
    assert facts == facts_of(whole)
    return whole.actions[0]


def merit(action: AgentAction) -> float:
    found = evidence(Trajectory("t", "a", None, None, None, None, (action,), ()), ENDED)
    assert found.merit is not None
    return found.merit


BOUGHT = {"marketId": "m-1", "ticker": None, "side": "YES"}


@pytest.mark.parametrize(
    ("asked", "balance", "shares", "price", "staked"),
    [
        (30, 1000, 60, 0.5, 30),
        (50, 30, 60, 0.5, 30),  # Babylon takes what there is
        (100, 30, 100 / 3, 0.9, 30),
        ("30", 1000, 60, 0.5, 30),
        (" 30.0 ", 1000, "60", 0.5, 30),
        (None, 1000, 200, 0.5, 100),  # and 100 where nothing is asked for
        (0, 1000, 200, 0.5, 100),
        ("", 1000, 200, 0.5, 100),
        (None, 40, 80, 0.5, 40),
        (30, 0, 60, 0.5, 30),  # of an NPC no balance is known
        (30, None, 60, 0.5, 30),
        (30, "30", 60, 0.5, 30),
    ],
)
def test_what_a_bet_cost_is_what_babylon_took(
    asked: object, balance: object, shares: object, price: float, staked: float
) -> None:
    found = acted({**BOUGHT, "shares": shares}, balance=balance, amount=asked)
    assert found.price == pytest.approx(price)
    assert found.staked == pytest.approx(staked)


def test_an_amount_that_is_not_recorded_is_the_one_that_babylon_takes() -> None:
    found = acted({**BOUGHT, "shares": 200})
    assert (found.price, found.staked) == (0.5, 100.0)


@pytest.mark.parametrize(
    ("asked", "balance"), [(100, 0), (1e9, 0), (33.4, None), ([30], 1000), ("0x1e", 1000)]
)
def test_who_hides_what_a_bet_cost_has_paid_the_dearest_price(
    asked: object, balance: object
) -> None:
    """An NPC's balance is not recorded: it could ask for more than it has and hide the price."""
    hidden = acted({**BOUGHT, "shares": 100 / 3}, balance=balance, amount=asked)
    open_ = acted({**BOUGHT, "shares": 100 / 3}, amount=30)
    assert 0 < merit(hidden) < merit(open_) < 0.12
    assert hidden.staked == pytest.approx(33.0)


def test_a_price_that_the_agent_wrote_itself_is_not_believed() -> None:
    """Of today's Babylon the parameters are the answer's own words."""
    found = acted({**BOUGHT, "shares": 60}, amount=30, price=0.01)
    assert found.price == 0.5
    sold = acted({"shares": 60}, side="sell_yes", amount=30, price=0.99)
    assert sold.price is None


def test_a_ticker_beside_a_market_does_not_hide_the_price() -> None:
    found = acted({"shares": 60}, marketType=None, ticker="ACME", amount=30)
    assert (found.market_id, found.ticker, found.price) == ("m-1", "ACME", 0.5)


@pytest.mark.parametrize("side", ["Buy Yes", "buy-yes", " BUY_YES ", "buy  - yes"])
def test_a_side_is_read_as_babylon_reads_it(side: str) -> None:
    """Babylon's packages/agents/src/autonomous/DirectExecutors.ts, ``executeDirectTrade``: trim,
    lower case, and one underscore for all spaces and hyphens. What is recorded is the answer's own
    spelling (MultiStepExecutor.ts, ``executeTrade``: ``parameters``)."""
    found = acted({**BOUGHT, "shares": 60}, side=side, amount=30)
    assert (found.price, merit(found)) == (0.5, 1.0)


@pytest.mark.parametrize("side", ["sell_yes", "sell_no", "Sell Yes"])
def test_a_sale_has_the_price_that_was_recorded_or_none(side: str) -> None:
    """Babylon sells what is held, up to what was asked for: 9.9 of 10 shares' worth is no price."""
    assert acted({"shares": 10}, side=side, amount=9.9).price is None
    assert acted({"shares": 10}, kind="SELL_SHARES", side="YES", amount=9.9).price is None
    sold = acted({"shares": 10, "avgPrice": 0.4}, side=side, amount=9.9, balance=1)
    assert (sold.price, sold.staked) == (0.4, 4.0)


def test_a_recorded_average_price_is_the_price() -> None:
    found = acted({"shares": 60, "avgPrice": "0.5"}, amount=50)
    assert (found.price, found.staked) == (0.5, 30.0)
    assert acted({"avgPrice": 0.5}, amount=50).price == 0.5
    assert acted({"avgPrice": 1.5}, amount=50, price=0.4).price == 0.4


@pytest.mark.parametrize("shares", [0, -60, "many", True, 1e300, {}])
def test_shares_that_are_none_make_no_price(shares: object) -> None:
    found = acted({"shares": shares}, amount=30)
    assert (found.price, found.staked) == (None, 30.0)


def test_worlds_that_count_otherwise_have_no_price_made_up() -> None:
    """Only of Babylon's own trades it is known that the amount is money."""
    found = acted({"shares": 10}, kind="BUY_SHARES", marketType=None, side="YES", amount=10)
    assert (found.price, found.staked) == (None, 10.0)
    assert acted({"shares": 10}, kind="BUY_SHARES", side="YES").staked is None


def test_what_was_asked_for_and_hidden_earns_no_more_than_what_was_priced() -> None:
    """Ten favourites at .9, nine of them right: .341 with prices and .652 without, it was."""
    priced = acted({**BOUGHT, "shares": 100 / 9}, amount=10)
    hidden = acted({**BOUGHT, "shares": 1000 / 9})
    assert merit(priced) == pytest.approx(merit(hidden))


@pytest.mark.parametrize("name", ["m" * 201, "\U0001d7d8" * 201, 10**200])
def test_a_name_that_no_market_has_is_none(name: object) -> None:
    """It would not fit into Postgres's indexes, and fail its whole hour."""
    assert acted(marketId=name).market_id is None
    assert acted(marketId=None, ticker=name, marketType="perp").ticker is None
    assert acted({"marketId": name}, marketId="m-1").market_id == "m-1"
    assert acted({"ticker": name}, marketId="ACME", marketType="perp").ticker == "ACME"
    assert acted(marketId="m" * 200).market_id == "m" * 200


def facts(row: Any) -> Facts:
    found = decode_facts(row)
    assert isinstance(found, Facts)
    return found


def test_each_bet_is_bound_by_the_balance_of_its_own_step() -> None:
    steps = [step(n, action={"actionType": "TRADE", "success": True, "result": {"shares": 20},
                             "parameters": {"marketId": "m-1", "side": "buy_yes", "amount": 10}})
             for n in range(3)]  # fmt: skip
    steps[1]["environmentState"]["agentBalance"] = 5
    del steps[2]["environmentState"]
    assert [one.price for one in decoded(steps).actions] == [0.5, 0.25, 0.5]
    assert [one.price for one in facts(raw(steps)).actions] == [0.5, 0.25, 0.5]


@pytest.mark.parametrize(
    ("parameters", "result", "named"),
    [
        # What was executed is said by the result: Babylon resolves names whatever their case.
        ({"marketId": "acme", "marketType": "perp"}, {"ticker": "ACME"}, (None, "ACME")),
        ({"marketId": "Acme Inc.", "ticker": "x", "marketType": "perp"}, {"ticker": "ACME"},
         (None, "ACME")),
        ({"marketId": "acme", "marketType": None, "side": "open_long"}, {"ticker": "ACME"},
         (None, "ACME")),
        ({"marketId": " m-1 "}, {"marketId": "m-1"}, ("m-1", None)),
        ({"marketId": "m-1", "ticker": "ACME"}, {"marketId": "m-1"}, ("m-1", None)),
        ({"marketId": "m-1", "ticker": "ACME", "marketType": None}, {"marketId": "m-1"},
         ("m-1", None)),
        # A perpetual is its ticker, a prediction market its id.
        ({"marketId": "p-17", "ticker": "ACME", "marketType": "perp"}, None, (None, "ACME")),
        ({"marketId": "p-17", "ticker": "ACME", "marketType": None, "side": "long"}, None,
         (None, "ACME")),
        ({"marketId": "ACME", "marketType": "perp"}, None, (None, "ACME")),
        ({"marketId": "ACME", "marketType": None, "side": "open_short"}, None, ("ACME", None)),
        ({"marketId": "m-1", "ticker": "ACME"}, None, ("m-1", None)),
        ({"ticker": "ACME"}, None, (None, "ACME")),
        # Nothing says which.
        ({"marketId": "m-1", "ticker": "ACME", "marketType": None}, None, ("m-1", "ACME")),
        ({"marketId": "m-1", "ticker": "ACME", "marketType": None}, {"ticker": "ACME"},
         ("m-1", "ACME")),
        ({"ticker": "ACME", "marketType": None}, {"marketId": "position-3"}, (None, "ACME")),
        ({"marketType": None}, {"marketId": "m-1", "ticker": "ACME"}, ("m-1", "ACME")),
    ],
    ids=str,
)  # fmt: skip
def test_a_bet_names_what_was_traded_in(
    parameters: dict[str, Any], result: dict[str, Any] | None, named: tuple[str | None, str | None]
) -> None:
    found = acted(result, **{"marketId": None, **parameters})
    assert (found.market_id, found.ticker) == named
