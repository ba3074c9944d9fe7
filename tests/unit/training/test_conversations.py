"""ART's trajectories are made without looking for garbage among them."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from babylon_tasks.records import Group, LlmCall, Member
from babylon_tasks.training.conversations import art_groups

TOKENS, MEMBERS = 100, 8


def groups() -> list[Group]:
    call = LlmCall(
        model="babylon@0",
        messages=(("user", "YES or NO?"),),
        response="YES",
        temperature=1.0,
        policy_step=0,
        logprobs=(-0.5,) * TOKENS,
        token_ids=tuple(range(TOKENS)),
    )
    return [Group("w", "k", tuple(Member(f"t-{n}", 0.5, (call, call)) for n in range(MEMBERS)))]


@pytest.mark.parametrize("collects", [True, False])
def test_nothing_is_collected_meanwhile_and_afterwards_all_is_as_before(
    collects: bool,
) -> None:
    looked: list[str] = []

    def look(phase: str, _: Any) -> None:
        looked.append(phase)

    given = groups()
    art_groups(given)  # imports ART
    (gc.enable if collects else gc.disable)()
    gc.callbacks.append(look)
    try:
        made = art_groups(given)
        # Once before it begins and once after it has ended is none of its business.
        assert looked.count("start") <= 2
        assert gc.isenabled() == collects
    finally:
        gc.callbacks.remove(look)
        gc.enable()
    choice = made[0].trajectories[0].messages_and_choices[-1]
    assert [token.token for token in choice.logprobs.content] == [
        f"token_id:{n}" for n in range(TOKENS)
    ]


def test_what_cannot_be_converted_leaves_the_collector_at_work() -> None:
    with pytest.raises(AttributeError):
        art_groups([None])  # type: ignore[list-item]
    assert gc.isenabled()
