"""Who is drawn for which arm, and what answers there."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import Any

import pytest

from babylon_tasks.arms import Arm, Arms, Assignment, assign, draw, in_force, without

WINDOW = "2026-01-31T09:00"
AGENTS = [f"agent-{number}" for number in range(5000)]


def arms(**fields: Any) -> Arms:
    values = {"control_share": 0.1, "control_step": 3, "examinee_share": 0.1, "examinee_step": 7}
    return Arms(**{"from_window": WINDOW, "salt": "a1", **values, **fields})


def test_the_draw_is_the_hash_of_salt_agent_and_hour_against_the_shares() -> None:
    drawn = Counter()
    for agent in AGENTS:
        place = int(blake2b(f"a1|{agent}|{WINDOW}".encode(), digest_size=8).hexdigest(), 16) / 2**64
        wanted = Arm.CONTROL if place < 0.1 else Arm.EXAMINEE if place < 0.2 else Arm.SERVING
        assert draw(arms(), agent, WINDOW) is wanted
        drawn[wanted] += 1
    assert 400 < drawn[Arm.CONTROL] < 600
    assert 400 < drawn[Arm.EXAMINEE] < 600


@pytest.mark.parametrize("other", [arms(salt="b2"), arms()], ids=["salt", "hour"])
def test_agents_are_drawn_anew_with_each_hour_and_each_salt(other: Arms) -> None:
    window = WINDOW if other.salt != arms().salt else "2026-01-31T10:00"
    first = {one for one in AGENTS if draw(arms(), one, WINDOW) is Arm.CONTROL}
    second = {one for one in AGENTS if draw(other, one, window) is Arm.CONTROL}
    assert len(first & second) < 100  # 50 of 5000 by chance


def test_an_examinee_that_comes_or_goes_moves_nobody_into_or_out_of_control() -> None:
    without = arms(examinee_share=0.0, examinee_step=None)
    for agent in AGENTS:
        assert (draw(arms(), agent, WINDOW) is Arm.CONTROL) == (
            draw(without, agent, WINDOW) is Arm.CONTROL
        )


def test_an_arm_is_answered_by_its_checkpoint_or_model() -> None:
    found = {assign(arms(control_step=None, control_model="qwen/q"), a, WINDOW) for a in AGENTS}
    assert found == {
        Assignment(Arm.SERVING),
        Assignment(Arm.CONTROL, None, "qwen/q"),
        Assignment(Arm.EXAMINEE, 7),
    }
    assert {assign(arms(control_share=1.0, examinee_share=0.0), a, WINDOW) for a in AGENTS} == {
        Assignment(Arm.CONTROL, 3)
    }


@pytest.mark.parametrize(
    ("fields", "answers"),
    [
        ({}, Assignment(None)),
        # The floor of a ramp: agents without a name must not all get the policy that is new.
        ({"control_share": 0.95, "examinee_share": 0.0}, Assignment(None, 3)),
    ],
)
def test_who_has_no_name_is_not_drawn_and_goes_with_the_largest_arm(
    fields: dict[str, Any], answers: Assignment
) -> None:
    assert assign(arms(**fields), None, WINDOW) == answers


@pytest.mark.parametrize(
    ("window", "salt"),
    [
        ("2026-01-31T08:00", None),
        ("2026-01-31T09:00", "first"),
        ("2026-01-31T10:00", "back"),  # decided after those of 11:00, and for an hour before
        ("2026-01-31T11:00", "back"),
    ],
)
def test_the_last_decision_counts_whose_hour_has_begun(window: str, salt: str | None) -> None:
    rows = [
        arms(salt="first", from_window="2026-01-31T09:00"),
        arms(salt="second", from_window="2026-01-31T11:00"),
        arms(salt="back", from_window="2026-01-31T10:00"),
    ]
    found = in_force(rows, window)
    assert (None if found is None else found.salt) == salt


@pytest.mark.parametrize(
    ("steps", "control", "examinee"), [({3}, None, 7), ({7, 9}, 3, None), ({3, 7}, None, None)]
)
def test_arms_with_a_checkpoint_that_is_gone_end_and_the_others_stay(
    steps: set[int], control: int | None, examinee: int | None
) -> None:
    left = without(arms(), steps)
    assert (left.control_step, left.examinee_step) == (control, examinee)
    assert (left.control_share > 0, left.examinee_share > 0) == (bool(control), bool(examinee))
    assert (left.salt, left.from_window) == ("a1", WINDOW)
    assert without(arms(), {1, 2}) == arms()
