"""Window ids are UTC hours, whatever the machine's zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.errors import BadWindowId
from babylon_tasks.windows import (
    captures_span,
    hour_of,
    is_held_out,
    window_end,
    window_id,
    window_start,
)


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(2, 1, 1)))
def test_a_moment_lies_in_its_window(moment: datetime) -> None:
    window = window_id(moment)
    assert window_start(window) <= moment < window_end(window)
    assert window_end(window) - window_start(window) == timedelta(hours=1)
    assert window_id(window_start(window)) == window


def test_the_end_belongs_to_the_next_window() -> None:
    assert window_id(window_end("2026-01-31T23:00")) == "2026-02-01T00:00"


@pytest.mark.parametrize("window", ["0001-01-01T00:00", "2026-01-31T09:00", "9999-12-31T23:00"])
def test_the_first_and_the_last_hour_of_the_calendar_have_an_end_and_a_span(window: str) -> None:
    since, until = captures_span(window)
    assert since <= window_start(window) < window_end(window) <= until
    assert window_id(window_end(window) - timedelta(microseconds=1)) == window


def test_an_aware_time_of_another_zone_is_converted() -> None:
    moment = datetime(2026, 1, 31, 14, 40, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert window_id(moment) == "2026-01-31T09:00"
    assert window_start("2026-01-31T09:00") == datetime(2026, 1, 31, 9, tzinfo=UTC)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(BadWindowId, match="no time zone"):
        window_id(datetime(2026, 1, 31, 9))


@pytest.mark.parametrize(
    "window",
    [
        "",
        "2026-01-31",
        "2026-01-31T09:30",
        "2026-01-31T09:00Z",
        "2026-01-31T09:00:00",
        "2026-01-31 09:00",
        "2026-1-31T09:00",
        "\u0662\u0660\u0662\u0666-01-31T09:00",
        "2026-01-31T09:00\n",
        "2026-02-30T09:00",
        "2026-01-31T24:00",
    ],
)
def test_anything_but_a_real_utc_hour_is_refused(window: str) -> None:
    with pytest.raises(BadWindowId):
        window_start(window)


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-31T09",
        "2026-01-31T09:00",
        "2026-01-31T09:30",
        "2026-01-31 09:59:59.999",
        "2026-01-31t09:00z",
        "2026-01-31T09Z",
        "2026-01-31T11:10+02:00",
        "2026-01-31T11:10+0200",
        "2026-01-30T23:30-10",
        " 2026-01-31T14:40+05:30 ",
    ],
)
def test_any_moment_of_an_hour_that_a_person_writes_is_its_window(written: str) -> None:
    assert hour_of(written) == "2026-01-31T09:00"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "7",
        "20260131T09",
        "2026-01-31",
        "2026-01-31T9",
        "2026-01-31T25",
        "2026-02-30T09",
        "2026-01-31T09:00+25:00",
        "0001-01-01T00:00+02:00",
        "\u0662\u0660\u0662\u0666-01-31T09:00",
    ],
)
def test_what_names_no_hour_is_refused_with_how_to_write_one(written: str) -> None:
    with pytest.raises(BadWindowId, match=r"is not a (time|real hour)"):
        hour_of(written)


def test_the_held_out_share_is_stable_and_about_as_large_as_asked() -> None:
    start = window_start("2026-01-01T00:00")
    windows = [window_id(start + timedelta(hours=hour)) for hour in range(5000)]
    held = [window for window in windows if is_held_out(window, "babylon", 0.1)]
    assert held == [window for window in windows if is_held_out(window, "babylon", 0.1)]
    assert 400 < len(held) < 600
    assert not any(is_held_out(window, "babylon", 0) for window in windows)


def test_a_larger_share_holds_out_the_same_windows_and_more() -> None:
    start = window_start("2026-01-01T00:00")
    windows = [window_id(start + timedelta(hours=hour)) for hour in range(500)]
    few = {window for window in windows if is_held_out(window, "babylon", 0.1)}
    more = {window for window in windows if is_held_out(window, "babylon", 0.3)}
    assert few < more


def test_lineages_hold_out_different_windows() -> None:
    start = window_start("2026-01-01T00:00")
    windows = [window_id(start + timedelta(hours=hour)) for hour in range(500)]
    one, other = (
        {window for window in windows if is_held_out(window, lineage, 0.1)}
        for lineage in ("one", "other")
    )
    assert one != other
