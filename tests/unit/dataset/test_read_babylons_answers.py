"""Answers are read as today's Babylon takes them: what it carries out is valid, and nothing else.

By Babylon's packages/agents/src/autonomous: action-normalization.ts and
trade-parameter-normalization.ts for its decision loop, AutonomousTradingService.ts for single
trades, and the prompts of both.
"""

from __future__ import annotations

import json

import pytest

from babylon_tasks.dataset.read_answer import decides, read_answer

# As templates/multi-step-decision.ts lists them: formatPredictionMarkets, formatPerpMarkets.
PROMPT = """\
**Step**: 1/5
# Available Prediction Markets
- Market #1 (id: 246813579): "Will TeslAI ship it by May 1?"
    YES: 40% | NO: 60% | Ends: 2026-05-01T00:00:00.000Z
# Available Perp Markets
- TSLAI: TeslAI @ $12.00 \U0001f4c8 +1.0%
# Output Format (JSON only, no markdown)
{ "action": "TRADE | POST | REPLY_CHAT | FINISH" }"""


def decided(action: str = "TRADE", **parameters: object) -> str:
    said = {"thought": "low", "action": action, "parameters": parameters, "isFinish": False}
    return json.dumps(said)


def prediction(side: object, market: object = "246813579") -> str:
    return decided(marketType="prediction", marketId=market, side=side, amount=50)


def perpetual(side: str, ticker: str = "TSLAI") -> str:
    return decided(marketType="perp", marketId=ticker, side=side, amount=50)


def one_trade(**keys: object) -> str:
    """As AutonomousTradingService asks for it."""
    wanted = {"type": "prediction", "market": "246813579", "action": "buy_no"}
    asked = {**wanted, "amount_in_points": 50, **keys}
    made = {name: value for name, value in asked.items() if value is not None}
    return json.dumps({"action": "trade", "trade": made})


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        # Of several labels the first that is known; spaces and hyphens are underscores.
        (decided("TRADE | POST", marketId="246813579", side="buy_yes"), "rise"),
        (decided("comment, then TRADE", marketId="246813579", side="buy_yes"), "comment"),
        (decided("reply chat", chatId="7", content="hi"), "reply_chat"),
        (decided("Group-Message", chatId="7", content="hi"), "group_message"),
        (decided("WAIT / FINISH"), "nothing"),
        # Other words for a side, and a place in a list of none.
        (prediction("Buy Yes"), "rise"),
        (prediction("buy-no"), "fall"),
        (prediction("buy"), "rise"),
        (prediction("bearish"), "fall"),
        (perpetual("bullish"), "rise"),
        (perpetual("bearish"), "fall"),
        (perpetual("open"), "rise"),
        (perpetual("take profit"), "trade"),
        (prediction("buy_yes", 246813579), "rise"),
        (one_trade(), "fall"),
        (one_trade(amount_in_points="50"), "fall"),
        (one_trade(amount_in_points=None, amount=50), "fall"),
    ],
)
def test_what_babylon_carries_out_is_read(text: str, meant: str) -> None:
    action = read_answer(text, PROMPT)
    assert action is not None
    assert decides(action) == meant


def test_waiting_is_no_answer_where_babylon_asks_for_an_action() -> None:
    """``getDecision`` in MultiStepExecutor.ts says so at the end of a tick's first prompt, refuses
    FINISH and WAIT there, and asks again."""
    first = (
        f"{PROMPT}\n\nCRITICAL: You MUST choose exactly one concrete non-FINISH, non-WAIT action "
        "in valid JSON. Do not return FINISH, WAIT, or an empty action on this turn."
    )
    for idle in ("FINISH", "WAIT"):
        assert read_answer(decided(idle), PROMPT) is not None
        assert read_answer(decided(idle), first) is None
    assert read_answer(prediction("buy_yes"), first) is not None


@pytest.mark.parametrize("name", ["TSLAI", "tslai", "TSLAI: TeslAI @ $12.00", "tslai TeslAI"])
def test_a_perpetual_is_found_in_any_case_and_by_its_line(name: str) -> None:
    """``resolvePerpTicker``; Babylon's outcomes have the ticker alone."""
    action = read_answer(perpetual("open_long", name), PROMPT)
    assert action is not None
    assert (action.market_id, action.ticker) == (None, "TSLAI")


@pytest.mark.parametrize(
    "text",
    [
        prediction("none"),
        prediction("buy_yes", "1"),  # the number of its line is no market's id
        prediction("buy_yes", "2468"),
        prediction("buy_yes", "46813579"),
        perpetual("open_long", "TSLA"),
        perpetual("open_long", " "),
        decided("FLY | SWIM"),
        decided(" | "),
        # Babylon trades no unnamed kind of market, and nothing for no money.
        one_trade(type=None),
        one_trade(type="option"),
        one_trade(amount_in_points=None),
        one_trade(amount_in_points=0),
        one_trade(amount_in_points="all"),
        one_trade(action="buy"),
    ],
)
def test_what_babylon_refuses_is_not(text: str) -> None:
    assert read_answer(text, PROMPT) is None
