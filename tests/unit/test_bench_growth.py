"""The exponent that benches print: exact on a power of the size, refused where none can be seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.growth import curve, exponent

powers = st.floats(-2, 3)
factors = st.floats(1e-6, 1e6)
sizes = st.lists(st.integers(1, 10**6), min_size=3, max_size=6, unique=True)


@given(powers, factors, sizes)
def test_a_power_of_the_size_is_found_whatever_it_is_multiplied_with(
    power: float, factor: float, sizes: list[int]
) -> None:
    found = exponent(sizes, [factor * size**power for size in sizes])
    assert found == pytest.approx(power, abs=1e-6)


def test_what_lies_off_the_line_counts_by_its_ratio_above_as_below() -> None:
    assert exponent([1, 10, 100], [1, 20, 100]) == pytest.approx(1)
    assert exponent([1, 10, 100], [1, 5, 100]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("of_sizes", "costs", "why"),
    [
        ([1, 2], [1, 2], "it takes 3"),
        ([1, 2, 2], [1, 2, 2], "it takes 3"),
        ([1, 2, 3], [1, 2], "shorter"),
        ([0, 1, 2], [1, 2, 3], "above 0"),
        ([1, 2, 3], [1, 0, 3], "above 0"),
    ],
)
def test_what_shows_no_growth_is_refused(
    of_sizes: list[float], costs: list[float], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        exponent(of_sizes, costs)


def test_a_curve_says_each_cost_and_how_it_grows() -> None:
    assert curve("a window", [100, 1000, 10000], [2.0, 2.0, 2.0], " ms") == (
        "  a window: 100: 2 ms, 1,000: 2 ms, 10,000: 2 ms; last / first 1.00, exponent +0.00"
    )
