"""Groups are made by what agents were asked, never by what they answered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.dataset import keys as keys_module
from babylon_tasks.dataset.keys import keys, markets_in, parts
from babylon_tasks.decode import facts_of
from babylon_tasks.records import AgentAction, Facts, LlmCall, Trajectory

WINDOW = "2026-01-31T09:00"
BOUGHT = AgentAction("TRADE", True, "m-9", None, "buy_no")
FAILED = AgentAction("TRADE", False)
ALL = ("scenario", "archetype", "decision", "market", "balance")


def asked(*questions: str, decisions: tuple[AgentAction, ...] = (), **values: Any) -> Facts:
    """A trajectory whose first call asked all of this, with an answer in between."""
    asked = [("user", question) for question in questions or ["up or down?"]]
    messages = tuple(part for one in asked for part in (one, ("assistant", "NO")))[:-1]
    call = LlmCall("m", messages, "up", 1.0, purpose=values.pop("purpose", "action"))
    about = {"scenario_id": WINDOW, "archetype": None, "balance": None} | values
    return facts_of(
        Trajectory(
            "t", "a", about["scenario_id"], None, None, None, decisions, (call,),
            about["archetype"], about["balance"],
        )
    )  # fmt: skip


def test_a_trajectory_is_grouped_by_scenario_archetype_question_market_and_balance() -> None:
    one = asked(
        "Market m-2 YES 41%. Balance $1000.",
        scenario_id="crash",
        archetype="Degen",
        purpose="multi_step_decision",
        balance=1000.0,
    )
    assert parts(one, WINDOW, ALL) == (
        ("scenario", "crash"),
        ("archetype", "degen"),
        ("decision", "multi_step_decision"),
        ("market", "m-2"),
        ("balance", "2^9"),
    )


def test_a_long_part_is_replaced_by_its_hash() -> None:
    """As it is it might not fit into Postgres's index, and fail its whole hour."""
    wide = "\U0001d7d8" * 3_000
    keyed = [
        parts(
            asked(f"market 7{wide}{end}", scenario_id=wide + end, archetype=wide + end,
                  purpose=wide + end, balance=1.0),
            WINDOW, ALL,
        )
        for end in ("a", "b", "a")
    ]  # fmt: skip
    found = keys(keyed, 1)
    assert found[0] == found[2] != found[1]
    assert all(len(key.encode()) < 2_000 for key in found)
    assert [name for name, _ in keyed[0]] == list(ALL)
    assert parts(asked(purpose="x" * 100), WINDOW, ALL) == (("decision", "x" * 100),)


def test_babylons_live_scenario_is_the_window_and_distinguishes_nothing() -> None:
    assert parts(asked(archetype="trader"), WINDOW, ALL) == (("archetype", "trader"),)


def test_the_hour_in_which_a_trajectory_began_is_no_scenario() -> None:
    """Babylon's recorder writes it as the scenario, and the hour of the end as the window."""
    rows = [asked(archetype="trader", scenario_id=at) for at in (WINDOW, "2026-01-31T08:00")]
    assert keys([parts(one, WINDOW, ALL) for one in rows], 2) == ["archetype=trader"] * 2
    named = asked(scenario_id="market-decisions-2026-01-31T08:00")
    assert parts(named, WINDOW, ALL) == (("scenario", "market-decisions-2026-01-31T08:00"),)


@pytest.mark.parametrize(
    ("question", "market"),
    [
        ("Market m-2 YES 41% NO 59%.", "m-2"),
        ('{"marketId": "246813579", "yes": 0.4}', "246813579"),
        ("ticker: ACME is down", "ACME"),
        ("The market is wrong", ""),
        ('- Market #1 (id: 246813579): "Will it ship?"\n    YES: 40% | NO: 60%', "246813579"),
        ('- Market #1 (id: 24): "Will it?"\n- Market #2 (id: 25): "Will it not?"', ""),
        ('- Market #1 (id: 24): "Will it?"\n  - YES on "Will it..." (marketId: 24)', "24"),
        ("market #7 YES 40%", "7"),
        ("market m-1 YES 40%\nmarket m-2 YES 60%", ""),
        ("market m-1 or, again, market m-1", "m-1"),
    ],
)
def test_the_market_is_the_one_that_the_question_names(question: str, market: str) -> None:
    """Today's prompts number the markets, with their ids behind it (``formatPredictionMarkets`` in
    Babylon's packages/agents/src/autonomous/templates/multi-step-decision.ts)."""
    found = dict(parts(asked(question), WINDOW, ALL)).get("market", "")
    assert found == market


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["market-", "market ", "market" + " " * 1000, "ticker_", "m"])
def test_a_long_question_is_searched_once(piece: str) -> None:
    """With a quadratic pattern these take minutes: the timeout is for that alone."""
    assert dict(parts(asked(piece * (1_000_000 // len(piece))), WINDOW, ALL)) == {}
    assert dict(parts(asked("market" + " " * 1_000_000), WINDOW, ALL)) == {}


def test_the_market_is_that_of_the_last_question_and_not_of_an_earlier_one() -> None:
    """A call may carry a whole conversation; what was asked is its last message by the user."""
    one = asked("Market m-1 YES 41%.", "Market m-2 YES 60%.")
    assert dict(parts(one, WINDOW, ALL))["market"] == "m-2"


def test_what_was_answered_never_moves_a_trajectory_to_another_group() -> None:
    question = "Market m-2 YES 41%. Choose."
    traded = asked(question, decisions=(BOUGHT,), purpose="action")
    failed = asked(question, decisions=(FAILED,), purpose="action")
    silent = asked(question, purpose="BUY_SHARES")
    assert parts(traded, WINDOW, ALL) == parts(failed, WINDOW, ALL) == parts(silent, WINDOW, ALL)


def placed(markets: str, size: int = 3, archetype: str = "trader") -> list[str]:
    members = [
        parts(asked(f"Market m-{letter}1", archetype=archetype), WINDOW, ALL) for letter in markets
    ]
    return keys(members, size)


def test_a_finer_group_needs_company() -> None:
    assert placed("aaab") == ["archetype=trader|market=m-a1"] * 3 + ["archetype=trader"]


def test_those_left_alone_are_compared_with_each_other() -> None:
    assert placed("ab") == ["archetype=trader"] * 2


def test_one_with_a_unique_finer_key_joins_those_without_one() -> None:
    """Four name no market, the fifth one that nobody else names: all five are comparable."""
    questions = ["Which way?"] * 4 + ["Market m-b1"]
    members = [
        parts(asked(question, archetype="trader", purpose="multi_step_decision"), WINDOW, ALL)
        for question in questions
    ]
    assert keys(members, 4) == ["archetype=trader|decision=multi_step_decision"] * 5


def test_archetype_and_scenario_are_never_given_up() -> None:
    members = [
        parts(asked(archetype=name, scenario_id=scenario), WINDOW, ALL)
        for name, scenario in (("trader", "s-1"), ("degen", "s-1"), ("degen", "s-2"))
    ]
    assert keys(members, 8) == [
        "s-1|archetype=trader",
        "s-1|archetype=degen",
        "s-2|archetype=degen",
    ]


def test_nothing_to_group_by_is_one_group() -> None:
    assert keys([(), ()], 8) == ["", ""]
    assert keys([], 8) == []


def test_the_finest_key_of_enough_members_holds_whatever_others_lack() -> None:
    coarse, fine = (("decision", "forecast"),), (("decision", "forecast"), ("market", "m-1"))
    found = keys([fine, coarse, fine, coarse], 2)
    assert found == [f"decision=forecast{rest}" for rest in ("|market=m-1", "") * 2]


@pytest.mark.parametrize(
    ("balance", "power"), [(1000.0, "2^9"), (2.0, "2^1"), (1.0, "2^0"), (0.5, "2^-1"), (0.0, None)]
)
def test_starting_balances_of_a_size_are_alike(balance: float, power: str | None) -> None:
    found = dict(parts(asked(balance=balance), WINDOW, ("balance",)))
    assert found.get("balance") == power


_WORDS = st.sampled_from(
    ["market", "MARKET", "Ticker", "_id", "Id", " ", ":", "=", "#", '"', "'", "m-2", "ACME", "a",
     "7", "_", "-", "#1 (id: ", " (id:", "t\u0131cker", "mar\u212aet", "\n", "market market",
     "x" * 70]
)  # fmt: skip


@given(st.lists(_WORDS, max_size=12))
def test_the_markets_of_a_question_are_those_that_the_pattern_finds(words: list[str]) -> None:
    question = "".join(words)
    assert markets_in(question) == keys_module._MARKET.findall(question)
