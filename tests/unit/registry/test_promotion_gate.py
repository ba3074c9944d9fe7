"""The promotion rule: a candidate may serve unless it is worse beyond doubt."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from babylon_tasks.dataset.held_out import Place
from babylon_tasks.registry.promotion_gate import (
    CheckpointFigures,
    GateDecision,
    earlier,
    objective,
)
from babylon_tasks.registry.promotion_gate import decide as of_places
from babylon_tasks.settings import Settings

VALUES = (0.4, 0.5, 0.6, 0.5)


def settings(**values: object) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql://u@h/d"),
        **{"min_eval_groups": 4, "promote_tolerance": 0.01, **values},  # type: ignore[arg-type]
    )


def shifted(by: float, step: int = 2, coverage: float = 1.0) -> CheckpointFigures:
    return CheckpointFigures(step, tuple(value + by for value in VALUES), coverage)


def decide(
    candidate: CheckpointFigures,
    serving: CheckpointFigures,
    before: CheckpointFigures | None,
    settings: Settings,
) -> GateDecision:
    places = [Place("h", str(n), newest=False) for n in range(len(candidate.values))]
    return of_places(candidate, serving, before, places, settings)


def differing(*differences: float, step: int = 2) -> CheckpointFigures:
    return CheckpointFigures(step, tuple(0.5 + one for one in differences))


SERVING = shifted(0.0, step=1)
FLAT = CheckpointFigures(1, (0.5,) * 8)


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


def test_a_loss_within_the_error_of_the_difference_still_serves() -> None:
    noisy = differing(-0.3, 0.2, -0.2, 0.3, -0.3, 0.1, -0.1, 0.06)

    decision = decide(noisy, FLAT, None, settings())

    assert decision.figures["difference"] == pytest.approx(-0.03)
    assert decision.decision == "promote"


def test_a_loss_beyond_the_error_is_refused() -> None:
    worse = differing(-0.05, -0.01, -0.02, -0.04, -0.03, -0.05, -0.01, -0.03)

    held = decide(worse, FLAT, None, settings())

    assert (held.decision, held.figures["refused"]) == ("hold", "no_better")
    assert held.figures["error"] == pytest.approx(0.00567, abs=1e-5)
    assert held.reason == (
        "worse beyond doubt: objective -0.0300 ± 0.0057 against the serving checkpoint 1 "
        "on 8 held-out groups"
    )


def test_small_losses_that_add_up_are_refused_against_what_served_long_before() -> None:
    before = shifted(0.05, step=0)

    held = decide(shifted(-0.005), SERVING, before, settings())

    assert (held.decision, held.figures["refused"]) == ("hold", "no_better")
    assert "checkpoint 0, which served up to 8 promotions before" in held.reason
    assert held.figures["earlier"]["difference"] == pytest.approx(-0.055)


def test_one_on_the_way_back_to_what_served_long_before_may_serve() -> None:
    assert decide(shifted(0.02), SERVING, shifted(0.05, step=0), settings()).decision == "promote"


def test_a_lucky_value_long_before_that_is_within_its_error_is_no_bar() -> None:
    lucky = differing(0.3, -0.2, 0.2, -0.3, 0.3, -0.1, 0.1, -0.06, step=0)

    decision = decide(FLAT, FLAT, lucky, settings())

    assert decision.decision == "promote"
    assert decision.figures["earlier"]["step"] == 0


def test_what_served_long_before_is_chosen_by_its_age_among_those_that_are_kept() -> None:
    chain: dict[int, int] = {}
    branch = {5: 2}  # 3 and 4 were refused

    assert earlier(20, chain, range(21)) == 12
    assert earlier(3, chain, range(21)) == 0
    assert earlier(0, chain, range(21)) is None
    assert earlier(20, chain, {20, 19, 15, 2}) == 15
    assert earlier(20, chain, {20, 2}) is None
    assert earlier(5, branch, range(6)) == 0


def test_too_few_groups_hold() -> None:
    few = CheckpointFigures(2, VALUES[:3])
    held = decide(few, CheckpointFigures(1, VALUES[:3]), None, settings())

    assert held.decision == "hold"
    assert "3 held-out groups of at least 4" in held.reason
    enough = {"groups": 4, "coverage": 0.05}
    assert held.figures == {"groups": 3, "tolerance": 0.01, "at_least": enough}


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


def test_values_on_different_sets_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same groups"):
        decide(shifted(0.1), CheckpointFigures(1, VALUES[:3]), None, settings())
