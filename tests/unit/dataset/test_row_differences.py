"""How a row differs from what was trained on: what was said, how it was sampled."""

from __future__ import annotations

import pytest
from msgspec import structs

from babylon_tasks.dataset.row_differences import flags, member_differences
from babylon_tasks.records import LlmCall, Member, RawTrajectory

CALL = LlmCall("babylon@0", (("user", "?"),), "YES", 1.0, 0, (-0.5,), (7,))
KEPT = Member("t", 0.5, (CALL, CALL), (1, 4))


def changed(place: int = 1, **fields: object) -> Member:
    calls = list(KEPT.calls)
    calls[place] = structs.replace(CALL, **fields)
    return structs.replace(KEPT, calls=tuple(calls))


@pytest.mark.parametrize(
    ("now", "differences"),
    [
        (KEPT, []),
        (changed(response="NO"), [("text", "call 4: response")]),
        (changed(0, messages=(("user", "!"),)), [("text", "call 1: messages")]),
        (changed(token_ids=None, logprobs=None), [("sampling", "call 4: logprobs, token_ids")]),
        (
            changed(response="NO", token_ids=(8,)),
            [("text", "call 4: response"), ("sampling", "call 4: token_ids")],
        ),
        (structs.replace(KEPT, calls=(CALL,)), [("text", "1 calls instead of 2")]),
    ],
)
def test_what_differs_is_named_by_call_and_field(
    now: Member, differences: list[tuple[str, str]]
) -> None:
    assert list(member_differences(KEPT, now)) == differences


def test_flags_are_named() -> None:
    row = RawTrajectory("t", "a", None, "[]", 2, None, True, False, already_used=True)

    assert flags(row) == [
        "isEvaluation is set",
        "isTrainingData is not set",
    ]
    assert flags(RawTrajectory("t", "a", None, "[]", 2, None, False, True)) == []
