"""Answers are read as Babylon's agents would act upon them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.dataset.read_answer import decides, read_answer, repeats

PROMPT = "Market m-2 YES 41% NO 59%, ticker ACME. Choose one action as JSON."


def trade(side: str = "buy_no", market: str = "m-2", **keys: object) -> str:
    parameters = {"marketType": "prediction", "marketId": market, "side": side, "amount": 25}
    return json.dumps({"thought": "low", "action": "TRADE", "parameters": parameters} | keys)


def one_trade(side: str, market: str = "m-2", of: str = "prediction", action: str = "trade") -> str:
    """As Babylon's trading service asks for it."""
    wanted = {"type": of, "market": market, "action": side, "amount_in_points": 50}
    return json.dumps({"action": action, "trade": wanted})


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Yes", "rise"),
        ("no, it will not", "fall"),
        ("**NO.**", "fall"),
        ("HOLD", "nothing"),
        (trade(), "fall"),
        (f"Well:\n```json\n{trade('buy_yes')}\n```", "rise"),
        (f"<think>{{No}}</think>{trade()}", "fall"),
        (f"{{m-2}} is dear: {trade()}", "fall"),
        (trade("open_long", "ACME", parameters={"marketType": "perp", "marketId": "ACME",
                                                "side": "open_long"}), "rise"),
        ('{"action": "WAIT"}', "nothing"),
        ('{"action": "POST", "parameters": {"content": "to the moon"}}', "post"),
        ('{"action": "REPLY_CHAT", "parameters": {"chatId": "7", "content": "hi"}}', "reply_chat"),
        ('{"action": "UNFOLLOW", "parameters": {"userId": "7"}}', "unfollow"),
        ('{"action": "buy_shares", "marketId": "m-2", "side": "NO"}', "fall"),
        (one_trade("buy_yes"), "rise"),
        (one_trade("buy_no"), "fall"),
        (one_trade("open_short", "ACME", "perp"), "fall"),
        (one_trade("buy_yes", "none", action="hold"), "nothing"),
        ('{"action": "hold", "reasoning": "all is dear"}', "nothing"),
        ('{"action": "trade", "trade": null}', "nothing"),
    ],
)  # fmt: skip
def test_what_an_answer_decides(text: str, meant: str) -> None:
    action = read_answer(text, PROMPT)

    assert action is not None
    assert decides(action) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I think the market is wrong",
        "POST",
        "BUY_SHARES",
        '{"action": "TRADE", "parameters": {"marketId": "m-2", "side"',
        '{"thought": "nothing else"}',
        '{"action": "FLY"}',
        '{"action": ["TRADE"]}',
        '["TRADE"] {1}',
        trade("sideways"),
        trade(market="m-9"),
        one_trade("buy_yes", "m-9"),
        one_trade("sideways"),
        one_trade("buy_yes", market=""),
        '{"action": "TRADE", "parameters": {"side": "buy_no", "amount": 25}}',
        "{" * 50_000,
        '{"action": ' + "9" * 10_000 + "}",
    ],
)
def test_what_no_agent_could_act_upon(text: str) -> None:
    assert read_answer(text, PROMPT) is None


@given(st.text(), st.text())
def test_any_text_can_be_read(text: str, prompt: str) -> None:
    read_answer(text, prompt)
    repeats(text)


def test_only_long_texts_that_say_the_same_again_repeat() -> None:
    prose = (
        "The base rate of such questions is low, and the price has already moved since the last "
        "headline came out; what remains is the fee, which eats up most of what could be won "
        "here, so the better choice is to wait for another market to open in the evening hours."
    )

    assert repeats("buy buy " * 40)
    assert not repeats("buy buy")
    assert not repeats(prose)
    assert not repeats(json.dumps([json.loads(trade(market=f"m-{n}")) for n in range(3)]))
