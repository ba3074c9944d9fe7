"""Questions of a screen: which are asked, and how right an answer to one is."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from babylon_tasks.dataset.questions import (
    HeldOutQuestion,
    choose,
    kinds_with_actions,
    question_of,
    read,
    set_hash,
)
from babylon_tasks.decode import AskedCall
from babylon_tasks.records import AgentAction, LlmCall, Outcome, Outcomes

WINDOW = "2026-01-31T09:00"
ENDED = Outcomes({"m-1": Outcome(yes=True)}, {"ACME": Outcome(change=-2.0)})
BET = AgentAction("BUY_SHARES", True, market_id="m-1", side="NO")


def asked(prompt: str = "Will m-1 rise?", answer: str = "No", **call: object) -> LlmCall:
    return LlmCall(
        model="anyone",
        messages=(("system", "Answer Yes or No."), ("user", prompt)),
        response=answer,
        temperature=0.7,
        **call,  # type: ignore[arg-type]
    )


def question(
    action: AgentAction | None = BET,
    outcomes: Outcomes = ENDED,
    trained: tuple[str, ...] = (),
    call: LlmCall | None = None,
) -> HeldOutQuestion:
    made = question_of(WINDOW, "t", AskedCall(0, call or asked(), 16, action), outcomes, trained)
    assert made is not None
    return made


def rightness(one: HeldOutQuestion, text: str) -> float | None:
    return read(one, text, kinds_with_actions([one])).rightness


@pytest.mark.parametrize(
    ("answer", "right"), [("Yes", 1.0), ("No", 0.0), ("HOLD", 0.5), ("gibberish", 0.0)]
)
def test_an_answer_is_compared_with_how_the_market_ended(answer: str, right: float) -> None:
    assert rightness(question(), answer) == right
    assert rightness(question(outcomes=Outcomes({}, {})), answer) is None


def test_a_recorded_correctness_gives_the_outcome_away() -> None:
    wrong = structs.replace(BET, correct=False)
    fell = AgentAction("open_short", True, ticker="ACME", correct=True)

    assert rightness(question(wrong, Outcomes({}, {})), "Yes") == 1.0
    assert rightness(question(fell, Outcomes({}, {})), "Yes") == 0.0


def test_the_outcome_of_a_market_that_was_trained_on_counts_for_nothing() -> None:
    """One market is on one side of the split only: its outcome may be remembered."""
    found = read(question(trained=("m-1",)), "Yes", kinds_with_actions([question()]))

    assert (found.valid, found.rightness) == (True, None)


def test_an_answer_may_bet_on_another_market_of_the_prompt() -> None:
    one = question(call=asked("Markets m-1 and m-3, tickers ACME.", '{"action": "WAIT"}'))

    def bet(market: str, kind: str = "prediction") -> str:
        parameters = {"marketType": kind, "marketId": market, "side": "buy_yes"}
        return json.dumps({"action": "TRADE", "parameters": parameters})

    assert rightness(one, bet("m-1")) == 1.0
    assert rightness(one, bet("ACME", "perp")) == 0.0
    assert rightness(one, bet("m-3")) is None  # its outcome is not known


def test_where_no_recorded_answer_can_be_read_any_text_is_valid() -> None:
    free = question(None, call=asked("Write a post.", "To the moon"))
    kinds = kinds_with_actions([free])

    assert kinds == frozenset()
    assert read(free, "Down it goes", kinds).valid
    assert not read(free, " \n", kinds).valid
    assert read(free, "A  b", kinds).decides == read(free, "a b", kinds).decides


@pytest.mark.parametrize("success", [True, False])
@pytest.mark.parametrize("done", ["DM", "CREATE_POST", "generate_dm_response"])
def test_a_reply_that_happens_to_begin_with_yes_makes_no_bets_of_replies(
    done: str, success: bool
) -> None:
    sent = AgentAction(done, success)
    replies = [question(sent, call=asked("Reply.", text)) for text in ("Yes, I saw it", "Sure!")]
    replies.append(question(sent, call=asked("Reply.", "Wait, what?")))
    kinds = kinds_with_actions(replies)

    assert kinds == frozenset()
    assert all(read(one, "Glad to hear that", kinds).valid for one in replies)


@pytest.mark.parametrize(
    ("done", "answer"),
    [
        (BET, "Yes"),
        (AgentAction("HOLD", True), "Wait"),
        (AgentAction("pending", False), "No"),
        (AgentAction("CREATE_POST", True), '{"action": "POST", "content": "to the moon"}'),
        (None, "Yes"),
    ],
)
def test_an_answer_that_became_what_it_says_shows_what_is_wanted(
    done: AgentAction | None, answer: str
) -> None:
    assert len(kinds_with_actions([question(done, call=asked("?", answer))])) == 1


def test_each_prompt_is_asked_once_before_any_a_second_time() -> None:
    many = [question(call=asked(f"Will m-{n} rise?")) for n in (1, 1, 1, 2, 3)]

    assert [one.answered.messages[1][1][5:8] for one in choose(many, 4)] == [
        "m-1",
        "m-2",
        "m-3",
        "m-1",
    ]
    assert len(choose(many, 9)) == 5
    assert choose([], 3) == ()


def test_the_hash_names_the_questions() -> None:
    one, other = question(), question(call=asked("Will m-2 rise?"))

    assert set_hash([one, other]) == set_hash([one, other])
    assert set_hash([one]) != set_hash([other])


def test_a_prompt_that_is_not_all_text_or_too_long_is_not_asked() -> None:
    for call in (asked(carries="images"), asked("x" * 500_000)):
        assert question_of(WINDOW, "t", AskedCall(0, call, None, BET), ENDED, ()) is None
