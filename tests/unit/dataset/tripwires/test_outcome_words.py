"""Prompts that say how markets end, and prompts that only sound like it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from babylon_tasks.dataset.tripwires.outcome_words import OutcomeWords
from babylon_tasks.dataset.tripwires.watched import MemberFacts, WatchedGroup, WatchedMember
from babylon_tasks.records import LlmCall, Member
from babylon_tasks.tripwires import Trip, Tripwire

BET = (("m-4", True),)


def group(prompts: Sequence[str], bets: tuple[tuple[str, bool], ...] = BET) -> WatchedGroup:
    """A trajectory for each prompt."""
    return WatchedGroup(
        "market=m-4",
        tuple(
            WatchedMember(
                Member(f"t-{number}", 0.5, (LlmCall("m", (("user", prompt),), "YES", 1.0),)),
                MemberFacts(f"agent-{number}", bets=bets),
            )
            for number, prompt in enumerate(prompts)
        ),
    )


def trips(*groups: WatchedGroup) -> list[Trip]:
    wire = OutcomeWords()
    for one in groups:
        wire.add(one)
    return wire.trips()


LEAKS = (
    'Context: {"gameKnowledge":{"futureOutcomes":{"m-4":"YES"}}} Market m-4. Decide.',
    "gameKnowledge = {'actualOutcomes': {'m-4': True}}",
    "true_probabilities: m-4 0.81",
    '"hiddenVariables":{"insider":"u-3"}',
    '"predictionCorrect": true',
    "Market m-4 resolved YES. Market m-5 is open. What do you buy?",
    "News\nm-4 (Will ACME rise?) has been settled as YES\nm-5 is open",
    '[{"id":"m-4","resolved":true,"resolution":true},{"id":"m-5","resolved":false}]',
    '[{"resolution": "YES", "id": "m-4"}]',
    "Market m-4, open since noon, finalOutcome=YES",
)


@pytest.mark.parametrize("leak", LEAKS)
def test_a_prompt_that_gives_the_outcome_away_trips(leak: str) -> None:
    (trip,) = trips(group([leak] * 4))

    assert trip.kind is Tripwire.OUTCOME_WORDS
    assert (trip.measured, trip.evidence["trajectories"]) == (1.0, 4)
    assert trip.evidence["examples"] == ["t-0", "t-1", "t-2", "t-3"]
    assert trip.evidence["words"]
    assert trip.evidence["snippet"]


HONEST = (
    "ACME is up 4% and rising. YES costs 0.47. Will ACME close higher? Answer Yes or No.",
    "Market m-4 YES 41% NO 59%. Balance $1000. Choose one action as JSON.",
    '{"id":"m-4","resolved":false,"resolution":null,"question":"Will ACME rise?"}',
    '{"gameKnowledge":{"futureOutcomes":{},"actualOutcomes":{},"trueProbabilities": {}}}',
    '"hiddenVariables": null, "predictionCorrect": undefined',
    "If m-4 resolves YES, each share pays 1; if it resolves NO, it pays nothing.",
    "Market m-4 will be resolved YES or NO. Market m-4 resolved YES/NO at noon.",
    "Your last bet: m-3 resolved NO, you lost 40. Now: m-4 is open.",
    "m-4 is open. m-3 resolved YES and paid 60.",
    "We resolved no issue with m-4 yet. I settled no debt on m-4.",
    "Position: m-4, outcome: YES, 10 shares. True or false: outcomes are hidden from you.",
    "m-40 resolved YES; m-4 is open",
    "xm-4 settled YES",
    "Possible outcomes of m-4: YES, NO. Estimate the probability of each outcome.",
)


@pytest.mark.parametrize("prompt", HONEST)
def test_a_prompt_that_only_sounds_like_it_does_not(prompt: str) -> None:
    assert trips(group([prompt] * 40)) == []


def test_what_is_said_of_a_market_is_compared_with_how_it_ended() -> None:
    """Agents make things up: half of it is false, and no record of the simulation says it."""
    rumour = "Somebody wrote that m-4 resolved YES. Decide."
    true, false = group([rumour] * 10), group([rumour] * 10, (("m-4", False),))

    assert trips(true, false) == []
    (trip,) = trips(true)
    assert (trip.evidence["true"], trip.evidence["markets"]) == (10, {"m-4": 10})


def test_a_later_prompt_may_say_how_the_first_bet_ended() -> None:
    asked = LlmCall("m", (("user", "Market m-4 YES 41%."),), "YES", 1.0)
    later = LlmCall("m", (("user", "m-4 resolved YES, you won."),), "WAIT", 1.0)
    members = tuple(
        WatchedMember(
            Member(f"t-{n}", 0.5, (asked, later) if n % 2 else (later,), None if n % 2 else (1,)),
            MemberFacts(f"agent-{n}", bets=BET),
        )
        for n in range(8)
    )

    assert trips(WatchedGroup("", members)) == []


def test_one_prompt_is_an_accident_and_so_is_one_in_a_hundred() -> None:
    assert trips(group([LEAKS[0], *[HONEST[0]] * 7])) == []
    assert trips(group([*[LEAKS[0]] * 3, *[HONEST[0]] * 97])) == []
    assert len(trips(group([*[LEAKS[0]] * 5, *[HONEST[0]] * 95]))) == 1


def test_what_an_agent_answered_before_is_no_prompt() -> None:
    call = LlmCall("m", (("user", "?"), ("assistant", LEAKS[0]), ("user", "Go on.")), "YES", 1.0)
    one = WatchedMember(Member("t", 0.5, (call,)), MemberFacts("a", bets=BET))
    assert trips(WatchedGroup("", (one,) * 8)) == []


def test_a_text_is_read_once_and_a_hostile_one_in_linear_time() -> None:
    wire = OutcomeWords()
    wire.add(group([HONEST[0]] * 1000))
    assert wire.texts_read == 1

    hostile = "m-4 " * 20_000 + "resolved " * 20_000 + "futureOutcomes" * 5_000 + ":" * 20_000
    wire.add(group([hostile] * 2))
    assert wire.texts_read == 2

    wire.add(group(["m-4 resolved YES\n" * 50_000]))
    assert wire.texts_read == 3
