"""What the demo in the likeness of Babylon makes of answers, and the external model's address."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import decoded, recording

from babylon_tasks.recorder.recording import Recording
from babylon_tasks.recorder.rows import rows_of
from babylon_tasks.records import Evidence, Outcome, Outcomes
from babylon_tasks.sandbox.babylon_world import demo, external_model, markets, play
from babylon_tasks.sandbox.babylon_world.answers import act
from babylon_tasks.sandbox.babylon_world.external_server import answered
from babylon_tasks.sandbox.babylon_world.results import (
    ENOUGH_RIGHT,
    ModelShares,
    PlayedHour,
    is_at_the_top,
    is_enough,
    shares,
)
from babylon_tasks.scoring.evidence import evidence
from babylon_tasks.settings import checked

MARKET = markets.hour_markets(0, 0, 8)[0]


class Scripted:
    """A client of the gateway whose model gives these answers, one after the other."""

    def __init__(self, *answers: str) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = list(answers)
        self.chat = SimpleNamespace(completions=self)

    async def create(self, **asked: Any) -> Any:
        self.asked.append(asked)
        message = SimpleNamespace(content=self._answers.pop(0))
        choice = SimpleNamespace(message=message, finish_reason="stop")
        return SimpleNamespace(model="babylon@1", choices=[choice])


def trade(side: str) -> str:
    parameters = {"marketType": "prediction", "marketId": MARKET.id, "side": side, "amount": 10}
    return json.dumps({"action": "TRADE", "parameters": parameters})


def turn(*answers: str) -> tuple[play.Turn, Scripted]:
    client = Scripted(*answers)
    [found] = asyncio.run(play.play(client, [("a", MARKET)], "babylon"))
    return found, client


def test_an_agent_that_posts_is_asked_once_more_and_one_that_trades_is_not() -> None:
    posts, client = turn('{"action":"POST","parameters":{"content":"x"}}', trade("buy_no"))
    trades, _ = turn(trade("buy_yes"))

    assert [one.done.action for one in posts.decisions] == ["POST", "TRADE"]
    assert client.asked[1]["messages"] != client.asked[0]["messages"]
    assert posts.last.yes is False
    assert [one.done.yes for one in trades.decisions] == [True]
    assert {one["user"] for one in client.asked} == {"a"}


def test_shares_count_what_fails_and_what_waits_as_not_right() -> None:
    right = trade("buy_yes" if MARKET.yes else "buy_no")
    wrong = trade("buy_no" if MARKET.yes else "buy_yes")
    acts = [act(MARKET, text) for text in (right, right, wrong, '{"action":"WAIT"}', "what?")]

    found = shares("m", [(MARKET, one) for one in acts])

    assert (found.n, found.valid) == (5, 0.8)
    assert found.right_of_trades == pytest.approx(2 / 3)
    assert found.right_of_all == pytest.approx(2 / 5)


def test_the_external_model_answers_as_a_provider_and_reports_no_tokens() -> None:
    asked = {"model": external_model.NAME, "messages": markets.messages(MARKET), "user": "a"}

    status, reply = answered(0, json.dumps({**asked, "logprobs": True}).encode())

    assert (status, reply["model"]) == (200, external_model.NAME)
    [choice] = reply["choices"]
    assert not {"logprobs", "token_ids"} & {*choice}
    system, user = (one["content"] for one in markets.messages(MARKET))
    assert choice["message"]["content"] == external_model.answer(0, "a", system, user)


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode))
def test_a_request_that_cannot_be_read_is_refused(body: bytes) -> None:
    status, reply = answered(0, body)
    assert status == 400
    assert "cannot be read" in reply["error"]["message"]


class Shelf:
    """A recorder that keeps what agents have finished."""

    def __init__(self) -> None:
        self.finished: list[Recording] = []

    def start(self, agent: str, **facts: Any) -> Recording:
        made = recording()
        made.facts |= {"agent_id": agent, **facts}
        return Recording(made.facts, made.started, self.finished.append)


def evidence_of(answer: str) -> Evidence:
    """What scoring sees of one turn, once its market has ended."""
    found, _ = turn(answer)
    shelf: Any = Shelf()
    play.record(shelf, "2026-01-31T09:00", [found])
    [finished] = shelf.finished
    assert finished.broken is None
    row, _ = rows_of(finished)
    assert row["archetype"] == MARKET.archetype
    return evidence(decoded(row), Outcomes({MARKET.id: Outcome(yes=MARKET.yes)}, {}))


def test_scoring_understands_what_an_agent_did() -> None:
    price = MARKET.yes_price if MARKET.yes else 1 - MARKET.yes_price
    right = evidence_of(trade("buy_yes" if MARKET.yes else "buy_no"))
    assert (right.right, right.wrong, right.staked) == (1, 0, 10.0)
    assert right.merit == pytest.approx(min(1.0, (1 - price) / price), abs=1e-3)

    wrong = evidence_of(trade("buy_no" if MARKET.yes else "buy_yes"))
    assert (wrong.right, wrong.wrong) == (0, 1)
    assert evidence_of('{"action":"WAIT","parameters":{}}').waited == 1
    for unusable in ("what?", trade("buy_maybe"), trade("buy_yes")[:-1], '{"action":"SELL"}'):
        assert evidence_of(unusable).failed == 1


def test_numbers_that_no_table_takes_fail_and_are_recorded() -> None:
    assert evidence_of(trade("buy_yes").replace("10", "NaN")).failed == 1


@pytest.mark.parametrize("each", [1, 3, 4])
def test_agents_decide_about_markets_of_their_archetype_as_often_about_each(each: int) -> None:
    asked_about = markets.hour_markets(0, 0, 8)
    wanted = play.turns(asked_about, play.agents(16), each)

    assert len(set(wanted)) == len(wanted) == 2 * 16 * each
    assert all(agent.startswith(market.archetype) for agent, market in wanted)
    assert {*Counter(agent for agent, _ in wanted).values()} == {each}
    assert {*Counter(market.id for _, market in wanted).values()} == {4 * each}


def hour(share: float) -> PlayedHour:
    nobody = shares("m", [])
    return PlayedHour("2025-01-01T00:00", share, None, 0, None, None, nobody, nobody)


def test_a_ramp_is_at_its_top_after_hours_in_a_row_at_the_largest_share() -> None:
    assert not is_at_the_top([hour(0.9)] * 2, 3)
    assert not is_at_the_top([hour(0.9), hour(0.5), hour(0.9), hour(0.9)], 3)
    assert is_at_the_top([hour(0.05), *[hour(0.9)] * 3], 3)


def test_a_coin_hardly_ever_ends_a_warm_start() -> None:
    """In none of its evaluations, with 99 in 100; of 80 answers at least 60 are trades."""
    trades = 60
    least = math.ceil(trades * ENOUGH_RIGHT)
    once = sum(math.comb(trades, n) for n in range(least, trades + 1)) / 2**trades

    assert (1 - once) ** demo.BATCHES > 0.99


@pytest.mark.parametrize(
    ("valid", "right", "enough"), [(0.95, 0.75, True), (0.95, 0.6, False), (0.8, 0.75, False)]
)
def test_a_warm_start_ends_with_valid_answers_that_are_mostly_right(
    valid: float, right: float, enough: bool
) -> None:
    assert is_enough(ModelShares("m", 80, valid, right, valid * right)) is enough


def test_the_demos_options_are_settings_of_a_screened_lineage() -> None:
    named = {key.removeprefix("BABYLON_").lower(): value for key, value in demo.OPTIONS.items()}
    server = {"base_url": "http://127.0.0.1:9/v1", "models": [external_model.NAME]}
    named["gateway_upstreams"] = json.dumps({"external": server})
    settings = checked(DATABASE_URL="postgresql://babylon@127.0.0.1/babylon", **named)
    assert settings.promotion_mode == "screened"
    assert settings.compare
    assert settings.anchor_model == external_model.NAME
    agents, each = demo.AGENTS
    assert settings.max_group_size >= agents * each / (demo.MARKETS / len(markets.ARCHETYPES))
