"""What a reversal of the signal did, summed up from the windows of a demo."""

from __future__ import annotations

import pytest

from babylon_tasks.sandbox.demo_report import Reversal, WindowRow, reversal
from babylon_tasks.sandbox.statistics import windows_until


def played(*right: float) -> list[WindowRow]:
    return [
        WindowRow(
            window=f"hour-{number}",
            trajectories=128,
            valid=1.0,
            right=share,
            scored=128,
            rejected={},
            profit_mean=None,
            right_share=share,
            step=None,
            gradient_steps=0,
            trainable_tokens=0,
            served_step=0,
            rate_halved=0,
            decision=None,
            why=None,
        )
        for number, share in enumerate(right, start=1)
    ]


def test_without_a_reversal_there_is_none_to_sum_up() -> None:
    assert reversal(played(0.5, 0.6), None) is None


def test_a_policy_that_learns_again_is_right_again_after_its_windows() -> None:
    rows = played(0.5, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.8, 0.8, 0.8, 0.9)
    found = reversal(rows, 5)
    assert found is not None
    assert (found.window, found.right_again_after) == ("hour-5", 6)
    assert [found.before, found.after] == pytest.approx([0.9, 0.1])
    assert found.last == pytest.approx(2.5 / 3)


def test_a_policy_that_stays_wrong_is_never_right_again() -> None:
    assert reversal(played(0.9, 0.0, 0.0), 2) == Reversal("hour-2", 0.9, 0.0, 0.0, None)


def test_one_lucky_window_is_not_right_again() -> None:
    assert windows_until([0.1, 1.0, 0.1, 0.7, 0.8], 0.8) is None
    assert windows_until([0.9, 0.9], 0.8) is None, "fewer than three windows"
    assert windows_until([0.7, 0.8, 0.95], 0.8) == 3
