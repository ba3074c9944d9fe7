"""Words of actions are exact: nothing is found inside a longer word."""

from __future__ import annotations

import pytest

from babylon_tasks.records import AgentAction
from babylon_tasks.vocabulary import (
    expects_rise,
    is_perpetual,
    is_taken,
    kind,
    unknown_side,
    unknown_word,
)


@pytest.mark.parametrize(
    ("word", "side", "rise"),
    [
        ("BUY_SHARES", "YES", True),
        ("buy_shares", "no", False),
        ("BUY_PREDICTION_SHARES", "NO", False),
        ("SELL_SHARES", "YES", False),
        ("SELL_PREDICTION_SHARES", "NO", True),
        ("OPEN_PERP_POSITION", "LONG", True),
        ("OPEN_PERP_POSITION", "short", False),
        ("TRADING_DECISION", "NO", False),
        ("TRADE", " Buy-Yes ", True),
        ("TRADE", "SELL YES", False),
        ("TRADE", "open  short", False),
        ("TRADE", "close position", None),
        ("buy_yes", None, True),
        ("buy_no", "YES", False),
        ("open_long", None, True),
        ("open_short", None, False),
        ("close_position", "long", None),
        ("CLOSE_PERP_POSITION", "long", None),
        ("BUY_SHARES", None, None),
        ("BUY_SHARES", "YESTERDAY", None),
        ("HOLD", "YES", None),
        ("BUYBACK", "YES", None),
    ],
)
def test_the_direction_of_a_bet(word: str, side: str | None, rise: bool | None) -> None:
    assert expects_rise(AgentAction(word, True, "m-1", None, side)) is rise


@pytest.mark.parametrize(
    ("word", "side", "perpetual"),
    [
        ("TRADE", " Long ", True),
        ("TRADE", "open_short", True),
        ("TRADE", "Open - Long", True),
        ("open_long", "YES", True),
        ("buy_yes", "long", False),
        ("TRADE", "YES", False),
        ("TRADE", None, False),
        ("long", None, False),
    ],
)
def test_whether_a_bet_is_on_a_price(word: str, side: str | None, perpetual: bool) -> None:
    assert is_perpetual(word, side) is perpetual


@pytest.mark.parametrize("word", ["HOLD", "hold", "pending", "", "NONE", "wait"])
def test_waiting_is_no_action(word: str) -> None:
    assert not is_taken(AgentAction(word, True, "m-1"))


@pytest.mark.parametrize("word", ["CREATE_POST", "LIKE_POST", "BUY_SHARES", "SOMETHING_NEW"])
def test_whatever_succeeded_is_an_action(word: str) -> None:
    assert is_taken(AgentAction(word, True))
    assert not is_taken(AgentAction(word, False))


def test_a_live_trading_decision_without_a_market_was_a_hold() -> None:
    assert not is_taken(AgentAction("TRADING_DECISION", True))
    assert is_taken(AgentAction("TRADING_DECISION", True, ticker="ACME"))


@pytest.mark.parametrize(
    "word",
    [
        "TRADE", "POST", "COMMENT", "REPLY_COMMENT", "LIKE", "REPOST", "FOLLOW", "UNFOLLOW",
        "REPLY_CHAT", "DM", "GROUP_MESSAGE", "CREATE_GROUP", "INVITE_TO_GROUP", "KICK_FROM_GROUP",
        "LEAVE_GROUP", "SEND_MONEY", "SHARE_INFORMATION", "REQUEST_PAYMENT", "FINISH", "WAIT",
    ],
)  # fmt: skip
def test_all_that_todays_babylon_asks_for_is_known(word: str) -> None:
    """The list of actions in Babylon's packages/agents/src/autonomous/templates/
    multi-step-decision.ts (``Actions``, 93-114), which is in each prompt."""
    assert unknown_word(AgentAction(word, True)) is None
    assert is_taken(AgentAction(word, True, "m-1")) is (word not in ("FINISH", "WAIT"))


@pytest.mark.parametrize("word", ["BUYBACK", "REPOST", "TRADING", "SHARES", "buy"])
def test_a_word_that_only_contains_another_is_no_trade(word: str) -> None:
    assert not kind(word).trade
    assert not kind(word).post


@pytest.mark.parametrize(
    ("action", "word", "side"),
    [
        (AgentAction("TRADE", True, "m", None, "buy_yes"), None, None),
        (AgentAction(" trade ", True, "m", None, " LONG "), None, None),
        (AgentAction("TRADE", True, "m", None, "Buy Yes"), None, None),
        (AgentAction("TRADE", True, "m", None, "buy_maybe"), None, "buy_maybe"),
        (AgentAction("TRADE", True, "m", None, None), None, ""),
        (AgentAction("TRADE", True, "m", None, "close_position"), None, None),
        (AgentAction("CLOSE_POSITION", True, "m", None, None), None, None),
        (AgentAction("BUY_YES", True, "m", None, None), None, None),
        (AgentAction("TRADE", False, "m", None, "buy_maybe"), None, None),
        (AgentAction("TRADING_DECISION", True, None, None, None), None, None),
        (AgentAction("POST", True, None, None, "whatever"), None, None),
        (AgentAction("SHORT_SELL", True, "m", None, "down"), "SHORT_SELL", None),
        (AgentAction("SHORT_SELL", False, "m", None, "down"), "SHORT_SELL", None),
    ],
    ids=repr,
)
def test_what_is_none_of_babylons_words_is_found(
    action: AgentAction, word: str | None, side: str | None
) -> None:
    assert (unknown_word(action), unknown_side(action)) == (word, side)
