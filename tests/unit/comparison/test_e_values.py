"""Single e-values, their products, and the detectors that restart with every window."""

from __future__ import annotations

from itertools import accumulate
from math import exp, log, log1p

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.comparison.e_values import (
    EFFECTS,
    ZERO,
    Logs,
    bet,
    fall,
    log_mean,
    multiply,
    restart,
    windows,
)

DIFFERENCES = st.floats(-1, 1)
VARIANCES = st.floats(1e-5, 0.1)


@given(x=DIFFERENCES, null=st.floats(-0.1, 0.1), variance=VARIANCES)
def test_4_a_bet_is_mirrored_at_its_null_value_and_bounded(
    x: float, null: float, variance: float
) -> None:
    up, down = bet(null + x, null, variance, 1), bet(null - x, null, variance, -1)
    assert up == pytest.approx(down, rel=1e-9, abs=1e-9)
    assert all(0.1 - 1e-9 <= exp(one) <= 1.9 + 1e-9 for one in (*up, *down))
    assert bet(null, null, variance, 1) == ZERO


@given(
    one=DIFFERENCES, other=DIFFERENCES, null=st.floats(-0.1, 0.1), variance=VARIANCES, before=...
)
def test_5_a_larger_difference_never_raises_harm_and_never_lowers_proof(
    one: float, other: float, null: float, variance: float, before: bool
) -> None:
    less, more = sorted((one, other))
    begun: Logs = (2.0, 1.0, 0.5, 3.0) if before else ZERO
    for factor in (
        lambda d: restart(begun, bet(d, null, variance, -1)),
        lambda d: restart(begun, fall(d, null, variance)),
    ):
        assert all(a >= b for a, b in zip(factor(less), factor(more), strict=True))
    assert log_mean(bet(less, null, variance, 1)) <= log_mean(bet(more, null, variance, 1))
    gain, margin = bet(one, 0.0, variance, 1), bet(one, -0.02, variance, 1)
    assert all(a <= b for a, b in zip(gain, margin, strict=True))


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=30))
def test_6_the_detector_begins_with_its_first_factor_and_is_above_the_best_start(
    factors: list[float],
) -> None:
    state = ZERO
    for number, factor in enumerate(factors):
        state = restart(state, (factor,) * 4)
        starts = accumulate(reversed(factors[: number + 1]))
        cusum = max(starts)  # the largest product that ends here
        assert windows(state) >= exp(cusum) * (1 - 1e-9)
        if number == 0:
            assert windows(state) == pytest.approx(exp(factor))


def test_a_fall_of_any_size_has_one_window_enough_and_overflows_nothing() -> None:
    state = restart(ZERO, fall(-1.0, -0.04, 1e-5))
    assert 1e20 < windows(state) < 1e60
    assert windows(restart(state, fall(1.0, -0.04, 1e-5))) >= 0


def test_a_mean_of_e_values_is_taken_without_leaving_logarithms() -> None:
    assert log_mean((800.0, 800.0, 800.0, 800.0)) == pytest.approx(800)
    assert log_mean((log(1), log(2), log(3), log(6))) == pytest.approx(log(3))
    assert multiply((1.0, 2.0, 3.0, 4.0), (1.0, 1.0, 1.0, 1.0)) == (2.0, 3.0, 4.0, 5.0)


def test_the_stake_is_that_of_an_expected_effect_where_the_bound_is_far() -> None:
    variance, x = 0.2, 0.1
    assert bet(x, 0.0, variance, 1) == tuple(log1p(one / variance * x) for one in EFFECTS)
