"""The promotion rule: what is as good as the best may serve, what is not is held."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from babylon_tasks.registry.promotion_gate import CheckpointScores, decide, interval
from babylon_tasks.settings import Settings

VALUES = (0.4, 0.5, 0.6, 0.5)


def settings(**values: object) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql://u@h/d"),
        min_eval_groups=4,
        promote_tolerance=0.01,
        **values,  # type: ignore[arg-type]
    )


def shifted(by: float, step: int = 2, coverage: float = 1.0) -> CheckpointScores:
    return CheckpointScores(step, tuple(value + by for value in VALUES), coverage)


SERVING = shifted(0.0, step=1)


@pytest.mark.parametrize(
    ("by", "decision"), [(0.1, "promote"), (-0.005, "promote"), (-0.02, "hold")]
)
def test_a_checkpoint_serves_if_it_is_as_good_within_the_tolerance(
    by: float, decision: str
) -> None:
    assert decide(shifted(by), SERVING, None, settings()).decision == decision


def test_a_slow_decline_below_the_best_known_is_held() -> None:
    decision = decide(shifted(-0.005), SERVING, (0, 0.6), settings())

    assert decision.decision == "hold"
    assert "best known checkpoint 0" in decision.reason


def test_too_few_groups_hold_unless_the_operator_goes_without() -> None:
    few = CheckpointScores(2, VALUES[:3])
    held = decide(few, CheckpointScores(1, VALUES[:3]), None, settings())
    let = decide(
        few, CheckpointScores(1, VALUES[:3]), None, settings(promote_without_evaluation=True)
    )

    assert (held.decision, let.decision) == ("hold", "promote")
    assert "3 held-out groups of at least 4" in held.reason


def test_values_that_cover_almost_nothing_are_no_evidence() -> None:
    decision = decide(
        shifted(0.1, coverage=0.001), shifted(0.0, 1, coverage=0.002), None, settings()
    )

    assert decision.decision == "hold"
    assert "cover" in decision.reason


def test_the_evidence_holds_the_paired_difference_with_its_interval() -> None:
    evidence = decide(shifted(0.1), SERVING, None, settings()).evidence

    assert evidence["difference"] == pytest.approx(0.1)
    assert evidence["interval_95"] == pytest.approx([0.1, 0.1])
    assert evidence["groups"] == 4


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_the_interval_holds_within_the_extremes_and_is_repeatable(values: list[float]) -> None:
    low, high = interval(values)

    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert interval(values) == (low, high)


def test_values_on_different_sets_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same groups"):
        decide(shifted(0.1), CheckpointScores(1, VALUES[:3]), None, settings())
