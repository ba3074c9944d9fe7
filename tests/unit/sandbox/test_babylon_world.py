"""The likeness of Babylon: seeded markets, answers carried out as Babylon does, a model by rule."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.dataset.keys import _MARKET
from babylon_tasks.dataset.read_answer import read_answer
from babylon_tasks.sandbox.babylon_world import external_model, markets
from babylon_tasks.sandbox.babylon_world.answers import Act, act, is_right, shares
from babylon_tasks.sandbox.babylon_world.markets import BabylonMarket
from babylon_tasks.sandbox.babylon_world.news import (
    KNOWN_LINES,
    KNOWN_NAMES,
    UNSEEN_LINES,
    UNSEEN_NAMES,
)
from babylon_tasks.vocabulary import expects_rise

SEEDS = range(10)
HOURS = range(60)
MARKET = markets.hour_markets(0, 0, 8)[0]


def prompt(market: BabylonMarket) -> str:
    return "\n".join(one["content"] for one in markets.messages(market))


def trade(market: BabylonMarket, **changed: object) -> str:
    parameters = {
        "marketType": "prediction",
        "marketId": market.id,
        "side": "buy_yes",
        "amount": 10,
    }
    return json.dumps({"action": "TRADE", "parameters": {**parameters, **changed}})


def answered(seed: int) -> Iterator[tuple[BabylonMarket, Act]]:
    """What the external model's answers come to, in many hours."""
    for number in HOURS:
        for market in markets.hour_markets(seed, number, 8):
            system, user = (one["content"] for one in markets.messages(market))
            for agent in range(8):
                text = external_model.answer(seed, f"agent-{agent}", system, user)
                yield market, act(market, text)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_hour_is_the_same_for_ever_and_no_constant_answer_pays(seed: int) -> None:
    for number in HOURS:
        hour = markets.hour_markets(seed, number, 8)
        assert hour == markets.hour_markets(seed, number, 8)
        for archetype in markets.ARCHETYPES:
            own = [market.yes for market in hour if market.archetype == archetype]
            assert own.count(True) == own.count(False) == 2


def test_no_id_is_given_twice_in_a_demo() -> None:
    ids = [one.id for number in range(1000) for one in markets.hour_markets(3, number, 8)]
    assert len({*ids}) == len(ids)


def test_news_is_right_in_92_of_100_markets() -> None:
    drawn = [
        one for seed in SEEDS for number in HOURS for one in markets.hour_markets(seed, number, 8)
    ]
    share = sum(one.good == one.yes for one in drawn) / len(drawn)
    assert abs(share - markets.NEWS_RIGHT) < 0.02  # four standard errors


@pytest.mark.parametrize("seed", SEEDS)
def test_the_markets_of_an_evaluation_have_names_of_their_own_and_half_of_them_new_phrasings(
    seed: int,
) -> None:
    kept = markets.kept_markets(seed, 80, purpose="held-out")
    assert sum(one.unseen for one in kept) == sum(one.yes for one in kept) == 40
    assert sum(one.unseen and one.yes for one in kept) == 20
    assert not {*UNSEEN_NAMES.companies} & {*KNOWN_NAMES.companies}
    for one in kept:
        assert any(one.question.startswith(f"Will {name} ") for name in UNSEEN_NAMES.companies)
    assert kept != markets.kept_markets(seed, 80, purpose="check")


@pytest.mark.parametrize("lines", [KNOWN_LINES, UNSEEN_LINES])
def test_each_line_of_news_is_read_as_what_it_says(lines: object) -> None:
    assert isinstance(lines, tuple)
    for told, good in zip(lines, (True, False), strict=True):
        for line in told:
            assert external_model.is_good(line.format(company="Orca Labs", thing="its app")) is good


def test_the_question_names_one_market_as_grouping_reads_it() -> None:
    for market in markets.hour_markets(1, 2, 8):
        assert {found[1] for found in _MARKET.finditer(prompt(market))} == {market.id}


@pytest.mark.parametrize("seed", [0, 7])
def test_the_external_model_is_right_in_70_of_100_trades_waits_and_fails(seed: int) -> None:
    acts = list(answered(seed))
    kinds = Counter(done.action for _, done in acts)
    trades = [(market, done) for market, done in acts if done.yes is not None]
    right = sum(is_right(market, done) for market, done in trades) / len(trades)
    failed = sum(done.failed is not None for _, done in acts) / len(acts)
    assert abs(right - external_model.RIGHT) < 0.04
    assert abs(failed - external_model.FAILS) < 0.015
    assert abs(kinds["POST"] / len(acts) - external_model.POSTS) < 0.015
    assert {*kinds} == {"TRADE", "POST", "WAIT"}
    assert sum(done.valid for _, done in acts) < len(acts), "some answers are broken off"


def test_the_external_model_answers_an_agent_the_same_again_and_another_differently() -> None:
    system, user = (one["content"] for one in markets.messages(MARKET))
    answers = [
        [external_model.answer(0, f"agent-{one}", system, user) for one in range(20)]
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert len({*answers[0]}) > 5


def test_the_external_model_answers_another_prompt_in_prose() -> None:
    assert "{" not in external_model.answer(0, "a", "You are a trader.", "Who are you?")


def test_a_trade_is_carried_out_at_the_markets_price() -> None:
    done = act(MARKET, trade(MARKET, side="buy_no", amount=20))
    assert (done.valid, done.failed, done.yes, done.amount) == (True, None, False, 20.0)
    assert shares(MARKET, done) == pytest.approx(20 / (1 - MARKET.yes_price), abs=1e-3)
    assert is_right(MARKET, done) is not MARKET.yes


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"marketId": "m-999"}, "no such market"),
        ({"marketType": "perp"}, "no such market"),
        ({"side": "buy_maybe"}, "no such side"),
        ({"side": ["buy_yes"]}, "no such side"),
        ({"amount": "40"}, "not a number"),
        ({"amount": True}, "not a number"),
        ({"amount": 0}, "balance"),
        ({"amount": MARKET.balance + 1}, "balance"),
    ],
)
def test_a_trade_that_cannot_be_carried_out_is_valid_and_fails(
    changed: dict[str, object], why: str
) -> None:
    done = act(MARKET, trade(MARKET, **changed))
    assert done.valid
    assert done.yes is None
    assert why in str(done.failed)


@pytest.mark.parametrize("text", ["", "YES", trade(MARKET)[:-1], trade(MARKET) + "!", "[1]", "{}"])
def test_what_is_not_one_json_action_is_invalid(text: str) -> None:
    done = act(MARKET, text)
    assert not done.valid
    assert done.failed


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_text_is_carried_out_or_fails(text: str) -> None:
    done = act(MARKET, text)
    assert done.valid or done.failed
    assert not (done.failed and is_right(MARKET, done))


@pytest.mark.parametrize("seed", [0, 7])
def test_what_is_carried_out_is_what_the_screen_reads(seed: int) -> None:
    """The world's reading of an answer and the system's are the same."""
    for side in ("buy_yes", "buy_no"):
        for market in markets.kept_markets(seed, 8, purpose="read"):
            text = trade(market, side=side)
            read = read_answer(text, prompt(market))
            assert read is not None
            assert expects_rise(read) is act(market, text).yes
            assert read_answer(trade(market, marketId="m-99999"), prompt(market)) is None
