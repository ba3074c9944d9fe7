"""What a comparison's recorded windows say, as curves and marks."""

from __future__ import annotations

from math import sqrt
from statistics import fmean

import pytest
from compared_windows import hour
from msgspec import structs
from recorded_ramp import PARAMETERS, RampHour, ramp, rows

from babylon_tasks.comparison.history import MOST_POINTS, history


@pytest.fixture(scope="module", name="hours")
def a_days_ramp() -> list[RampHour]:
    """It rises three times and falls to the floor."""
    return list(ramp(30, falls_at=20))


def test_a_ramp_is_told_with_its_shares_its_loss_and_its_marks(hours: list[RampHour]) -> None:
    recorded = rows(hours)
    risen = next(row.window for row in recorded if row.conclusion == "rise")

    found = history(PARAMETERS, recorded, [one.arms for one in hours], {risen: "20% get it"})

    assert (found.windows, found.together, len(found.points)) == (30, 1, 30)
    assert [one.conclusion for one in found.marks] == ["rise", "rise", "rise", "to_floor"]
    first = found.marks[0]
    assert (first.number, first.window, first.done) == (1, risen, "20% get it")
    assert "the share rises to 20%" in first.why
    served = [round(one.shares.serving, 2) for one in found.points if one.shares is not None]
    assert list(dict.fromkeys(served)) == [0.05, 0.2, 0.5, 0.8]  # a tenth of 0.9 is on trial
    assert served[-1] == 0.05
    for one, point in zip(hours, found.points, strict=True):
        evidence = one.compared.evidence
        assert evidence.ramp is not None
        assert (point.window, point.loss) == (one.window.window, evidence.ramp.loss)
        assert (point.harm, point.detectors) == (evidence.harm, evidence.reward.harm)
        assert point.serving is not None
        assert point.serving.value == evidence.reward.measured.serving
        assert (point.trial is not None) == (evidence.trial_windows > 0)
    assert found.detectors == ("reward, slow", "reward, fast")
    assert (found.run_length, found.needed, found.budget) == (1440, 20, 2.0)


def test_a_window_that_came_late_has_nothing_to_show(hours: list[RampHour]) -> None:
    recorded = rows(hours[:3])
    recorded[1] = structs.replace(recorded[1], conclusion="late", evidence=None)

    found = history(PARAMETERS, recorded, [], {})

    assert [one.window for one in found.points] == [hour(1), hour(3)]
    assert (found.points[0].shares, found.marks) == (None, [])


def test_thousands_of_windows_are_as_many_points_as_a_screen_shows(hours: list[RampHour]) -> None:
    few, drawn = rows(hours), [one.arms for one in hours]
    many = [structs.replace(few[n % 30], window=hour(n + 1)) for n in range(10_000)]

    found = history(PARAMETERS, many, drawn, {})

    assert (found.windows, found.together) == (10_000, 21)
    assert len(found.points) == 477 <= MOST_POINTS
    first, alone = found.points[0], history(PARAMETERS, many[:21], drawn, {}).points
    seen = [one.serving for one in alone if one.serving is not None]
    assert first.serving is not None
    assert first.serving.value == fmean(one.value for one in seen)
    assert first.serving.deviation == sqrt(sum(one.deviation**2 for one in seen)) / len(seen)
    assert first.harm == max(one.harm for one in alone)
    assert (first.loss, first.shares) == (alone[-1].loss, alone[-1].shares)
    # No conclusion is lost in a point of several windows.
    assert len(found.marks) == sum(row.conclusion != "keep" for row in many)
