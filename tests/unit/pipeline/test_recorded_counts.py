"""What is counted of recorded names stays small, whatever is recorded."""

from __future__ import annotations

from evidence import bettor, shown, trajectory
from msgspec import structs

from babylon_tasks.pipeline.recorded_counts import NO_NAME, OTHERS, RecordedCounts
from babylon_tasks.records import AgentAction, LlmCall, Trajectory


def acted(*words: str, model: str = "m") -> Trajectory:
    made = trajectory([AgentAction(word, True) for word in words])
    return structs.replace(made, calls=(LlmCall(model, (), "", 1.0),))


def test_names_are_counted_as_they_are_recorded() -> None:
    recorded = RecordedCounts()
    recorded.add(acted("SHORT_SELL", "Short_Sell", "POST", "SHORT_SELL"), shown())
    recorded.add(acted(model=""), bettor(2, 1, unknown=4))
    assert recorded.actions == {"SHORT_SELL": 2, "Short_Sell": 1}
    assert recorded.models == {"m": 1, NO_NAME: 1}
    assert (recorded.bets, recorded.known, recorded.trades) == (7, 3, 7)


def test_what_is_beyond_a_thousand_names_is_counted_together_and_long_ones_are_cut() -> None:
    first, second = RecordedCounts(), RecordedCounts()
    first.add(acted(*(f"word-{n}" for n in range(900))), shown())
    second.add(acted(*(f"word-{n}" for n in range(800, 1800)), "word-800", "x" * 9000), shown())
    first.join(second)
    assert len(first.actions) == 1001
    assert first.actions["word-800"] == 3
    assert first.actions.total() == 900 + 1002
    assert first.actions[OTHERS] == 900 + 1002 - 1000 - 101
    assert max(map(len, first.actions)) <= 80
    assert len(second.actions) == 1001
