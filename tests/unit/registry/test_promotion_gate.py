"""The promotion rule: what is as good as the best may serve, what is not is held."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from babylon_tasks.registry.promotion_gate import (
    CheckpointFigures,
    best,
    decide,
    interval,
    objective,
)
from babylon_tasks.settings import Settings

VALUES = (0.4, 0.5, 0.6, 0.5)


def settings(**values: object) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql://u@h/d"),
        **{"min_eval_groups": 4, "promote_tolerance": 0.01, **values},  # type: ignore[arg-type]
    )


def shifted(by: float, step: int = 2, coverage: float = 1.0) -> CheckpointFigures:
    return CheckpointFigures(step, tuple(value + by for value in VALUES), coverage)


SERVING = shifted(0.0, step=1)


@pytest.mark.parametrize(
    ("by", "decision"), [(0.1, "promote"), (-0.005, "promote"), (-0.02, "hold")]
)
def test_a_checkpoint_serves_if_it_is_as_good_within_the_tolerance(
    by: float, decision: str
) -> None:
    assert decide(shifted(by), SERVING, None, settings()).decision == decision


def test_exactly_the_tolerance_below_still_serves() -> None:
    candidate, serves = CheckpointFigures(2, (0.25,) * 4), CheckpointFigures(1, (0.5,) * 4)

    assert decide(candidate, serves, None, settings(promote_tolerance=0.25)).decision == "promote"


def test_a_slow_decline_below_the_best_known_is_held() -> None:
    decision = decide(shifted(-0.005), SERVING, (0, 0.6), settings())

    assert decision.decision == "hold"
    assert "best known checkpoint 0" in decision.reason


def test_a_best_known_below_what_serves_does_not_lower_the_bar() -> None:
    decision = decide(shifted(-0.02), SERVING, (0, 0.3), settings())

    assert decision.decision == "hold"
    assert "the serving checkpoint 1" in decision.reason
    assert decision.figures["best"] == {"step": 0, "objective": 0.3}


def test_a_best_known_as_good_as_what_serves_changes_nothing() -> None:
    decision = decide(shifted(-0.02), SERVING, (0, 0.5), settings())

    assert "the serving checkpoint 1" in decision.reason


def test_the_best_known_is_that_of_the_highest_mean_objective_and_of_equal_ones_the_newest() -> (
    None
):
    plain, diverse = with_entropy(3, 0.6, 0.0), with_entropy(1, 0.55, 0.6)
    weighed = settings(promote_entropy_weight=0.1)

    assert best([], weighed) is None
    assert best([plain, diverse], weighed) == pytest.approx((1, 0.61))
    assert best([plain, diverse], settings(promote_entropy_weight=0)) == pytest.approx((3, 0.6))
    assert best([with_entropy(1, 0.5, 0.1), with_entropy(2, 0.5, 0.1)], weighed) == pytest.approx(
        (2, 0.51)
    )


def test_too_few_groups_hold() -> None:
    few = CheckpointFigures(2, VALUES[:3])
    held = decide(few, CheckpointFigures(1, VALUES[:3]), None, settings())

    assert held.decision == "hold"
    assert "3 held-out groups of at least 4" in held.reason
    assert held.figures == {"groups": 3, "tolerance": 0.01}


def test_values_that_cover_almost_nothing_do_not_count() -> None:
    decision = decide(
        shifted(0.1, coverage=0.001), shifted(0.0, 1, coverage=0.002), None, settings()
    )

    assert decision.decision == "hold"
    assert "cover" in decision.reason


@pytest.mark.parametrize(("candidate", "serving"), [(1.0, 0.001), (0.001, 1.0), (0.02, 0.001)])
def test_it_is_enough_that_the_answers_cover_one_of_the_two(
    candidate: float, serving: float
) -> None:
    """A policy that has moved away from the recorded answers is known by that to be worse."""
    limited = settings(min_eval_coverage=0.02)

    decision = decide(
        shifted(0.1, coverage=candidate), shifted(0.0, 1, coverage=serving), None, limited
    )

    assert decision.decision == "promote"
    assert decision.figures["coverage"] == {"candidate": candidate, "serving": serving}


def with_entropy(step: int, value: float, entropy: float) -> CheckpointFigures:
    return CheckpointFigures(step, (value,) * 4, entropy=(entropy,) * 4)


def test_diversity_counts_for_a_checkpoint_and_not_against_it() -> None:
    diverse, settled = with_entropy(2, 0.5, 0.6), with_entropy(1, 0.5, 0.1)
    weighed = settings(promote_entropy_weight=0.1)

    assert objective(diverse, weighed) == pytest.approx((0.56,) * 4)
    assert decide(diverse, settled, None, weighed).decision == "promote"
    assert decide(settled, diverse, None, weighed).decision == "hold"


def test_a_little_more_value_does_not_pay_for_the_loss_of_all_diversity() -> None:
    collapsed, serves = with_entropy(2, 0.52, 0.0), with_entropy(1, 0.5, 0.6)

    held = decide(collapsed, serves, None, settings(promote_entropy_weight=0.1))

    assert held.decision == "hold"
    assert held.figures["objective"] == pytest.approx({"candidate": 0.52, "serving": 0.56})
    assert held.figures["entropy"] == pytest.approx(
        {"candidate": 0.0, "serving": 0.6, "weight": 0.1}
    )
    unweighed = settings(promote_entropy_weight=0)
    assert decide(collapsed, serves, None, unweighed).decision == "promote"


def test_without_entropies_values_alone_are_compared() -> None:
    decision = decide(shifted(0.1), SERVING, None, settings(promote_entropy_weight=5.0))

    assert decision.figures["objective"] == pytest.approx({"candidate": 0.6, "serving": 0.5})
    assert decision.figures["entropy"] == {"candidate": None, "serving": None, "weight": 5.0}


def test_the_figures_contain_the_paired_difference_with_its_interval() -> None:
    figures = decide(shifted(0.1), SERVING, None, settings()).figures

    assert figures["difference"] == pytest.approx(0.1)
    assert figures["interval_95"] == pytest.approx([0.1, 0.1])
    assert figures["groups"] == 4


@hypothesis_settings(max_examples=20)  # each resamples 4000 times
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_the_interval_holds_within_the_extremes_and_is_repeatable(values: list[float]) -> None:
    low, high = interval(values)

    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert interval(values) == (low, high)


def test_the_interval_is_that_of_a_mean_at_95_percent() -> None:
    low, high = interval([0.0] * 50 + [1.0] * 50)  # by theory 0.5 -+ 1.96 * 0.05

    assert (low, high) == (pytest.approx(0.402, abs=0.015), pytest.approx(0.598, abs=0.015))


def test_values_on_different_sets_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same groups"):
        decide(shifted(0.1), CheckpointFigures(1, VALUES[:3]), None, settings())
