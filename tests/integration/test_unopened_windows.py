"""Rows of hours that get no window have an account: by the hour, with its reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from factories import EVER, WINDOW, insert_trajectories, trajectory
from scored_windows import column, hour

from babylon_tasks.db import clock, unopened_windows
from babylon_tasks.db.invariants import patience_seconds, violations
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.db.unopened_windows import UnopenedWindows
from babylon_tasks.pipeline import discover as discovery
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.prune_rows import prune_rows
from babylon_tasks.reasons import UnopenedReason
from babylon_tasks.settings import Settings
from babylon_tasks.windows import is_window_id, window_id, window_start

OLD = hour(1)  # weeks before any look-back of 72 hours
FAR = "2999-01-01T00:00"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(held_out_share=0, lookback_hours=72)


def violated(connection: Connection, settings: Settings, **how: Any) -> set[str | None]:
    found = violations(connection, settings, **how)
    assert {one.invariant for one in found} <= {"rows_without_window"}
    return {one.window for one in found}


def look(settings: Settings) -> None:
    discover(settings, actor="test")


def on_record(connection: Connection) -> dict[str, str]:
    query = "SELECT window_id, reason FROM training.unopened_windows"
    return dict(connection.execute(query).fetchall())


def named(window_id: str) -> dict[str, Any]:
    return trajectory(WINDOW, windowId=window_id)


def unnamed(start: str) -> dict[str, Any]:
    return trajectory(None, startTime=start, createdAt="2026-01-31 09:00")


ACCOUNTS = [
    (named(OLD), OLD, "before_lookback"),
    (named("0001-01-01T00:00"), "0001-01-01T00:00", "before_lookback"),
    (named(FAR), FAR, "not_begun"),
    (named("9999-12-31T23:00"), "9999-12-31T23:00", "not_begun"),
    (named("2026-11-26T5:00"), "2026-11-26T5:00", "bad_window_id"),
    (named("2026-02-29T05:00"), "2026-02-29T05:00", "bad_window_id"),
    (named("window-7"), "window-7", "bad_window_id"),
    (named(""), "", "bad_window_id"),
    (unnamed("2026-01-31 02:59"), hour(2), "before_lookback"),
    (unnamed("0001-01-01 01:30"), "0001-01-01T01:00", "before_lookback"),
    (unnamed("9999-12-31 22:30"), "9999-12-31T22:00", "not_begun"),
    (unnamed("2998-01-01 00:10"), "2998-01-01T00:00", "not_begun"),
    (unnamed("infinity"), "infinity", "bad_window_id"),
    (unnamed("-infinity"), "-infinity", "bad_window_id"),
    (unnamed("20230-01-01"), "20230-01-01T00:00", "bad_window_id"),
]


def test_the_reason_why_rows_have_no_window_is_put_on_record_once(
    connection: Connection, settings: Settings
) -> None:
    insert_trajectories(connection, [row for row, _, _ in ACCOUNTS])
    windows = {window for _, window, _ in ACCOUNTS}
    assert violated(connection, settings, at_rest=True) == windows

    look(settings)

    assert on_record(connection) == {window: reason for _, window, reason in ACCOUNTS}
    assert violated(connection, settings, at_rest=True) == set()
    since = "SELECT noticed_at FROM training.unopened_windows ORDER BY window_id"
    noticed = column(connection, since)
    look(settings)
    assert column(connection, since) == noticed


def test_a_thousand_old_rows_have_an_account_for_each_hour(
    connection: Connection, settings: Settings
) -> None:
    rows = [trajectory(hour(number % 3), f"a-{number}") for number in range(1000)]
    insert_trajectories(connection, rows)

    look(settings)

    assert unopened_windows.counts(connection) == [
        UnopenedWindows(UnopenedReason.BEFORE_LOOKBACK, 3, hour(0), hour(2))
    ]


def test_a_window_that_is_opened_later_has_no_other_account(
    connection: Connection, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    insert_trajectories(connection, [trajectory(hour(number)) for number in (1, 2)])
    look(settings)
    discover(settings, actor="test", since=window_start(hour(2)))
    assert on_record(connection) == {hour(1): "before_lookback"}

    look(make_settings(lookback_hours=int(EVER)))

    assert on_record(connection) == {}
    assert violated(connection, settings, at_rest=True) == set()


def test_an_hour_that_has_begun_since_is_opened_and_one_that_is_past_is_renamed(
    connection: Connection, settings: Settings
) -> None:
    running = window_id(clock.now(connection))
    insert_trajectories(connection, [trajectory(running), trajectory(OLD)])
    unnamed_too = window_start(running).replace(tzinfo=None)
    insert_trajectories(connection, [trajectory(None, startTime=unnamed_too)])
    connection.execute(
        "INSERT INTO training.unopened_windows (window_id, reason)"
        " VALUES (%s, 'not_begun'), (%s, 'not_begun')",
        (running, OLD),
    )

    look(settings)

    assert on_record(connection) == {OLD: "before_lookback"}
    assert column(connection, "SELECT window_id FROM training.windows") == [running]


def test_ids_that_are_no_hours_are_named_up_to_a_number_that_stands_for_all(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unopened_windows, "BAD_IDS", 3)
    monkeypatch.setattr("babylon_tasks.db.invariants.BAD_IDS", 3)
    insert_trajectories(connection, [named(f"w-{number}") for number in range(9)])
    insert_trajectories(connection, [named(OLD), unnamed("infinity")])

    for _ in range(3):
        look(settings)

    found = on_record(connection)
    assert found.pop(OLD) == "before_lookback"
    assert [*found.values()] == 3 * ["bad_window_id"]
    assert violated(connection, settings, at_rest=True) == set()


def test_ids_within_an_hour_do_not_hide_the_hours_after_it(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "SEEN_LIMIT", 3)
    now = clock.now(connection)
    before, running = window_id(now - timedelta(hours=1)), window_id(now)
    spellings = [f"{before[:13]}:{minute:02d}:00Z" for minute in range(60)]
    spellings += [f"{before[:10]} {before[11:13]}:{minute:02d}" for minute in range(60)]
    insert_trajectories(connection, [named(one) for one in spellings])
    insert_trajectories(connection, [trajectory(running)])

    assert discover(settings, actor="test").opened == [running]


# --- in parts


def test_more_unnamed_hours_than_one_call_sees_are_put_on_record_by_the_next(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "SEEN_LIMIT", 3)
    insert_trajectories(connection, [unnamed(f"2026-01-31 0{number}:30") for number in range(8)])
    insert_trajectories(connection, [trajectory(hour(9))])

    for _ in range(3):
        look(settings)
        assert violations(connection, settings) == []

    assert on_record(connection).keys() == {*map(hour, range(8)), hour(9)}
    assert violated(connection, settings, at_rest=True) == set()


def test_many_ids_are_surveyed_in_parts_and_begun_again(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unopened_windows, "PART", 4)
    insert_trajectories(connection, [trajectory(hour(number)) for number in range(10)])
    counts = []
    for _ in range(3):
        look(settings)
        counts.append(len(on_record(connection)))
        assert violations(connection, settings) == []
    assert counts == [5, 9, 10]  # the next one is looked at too

    insert_trajectories(connection, [trajectory(hour(10))])
    for _ in range(3):
        look(settings)
    assert violated(connection, settings, at_rest=True) == set()


def test_a_row_that_a_complete_survey_has_left_out_is_found(
    connection: Connection, settings: Settings
) -> None:
    insert_trajectories(connection, [trajectory(OLD)])
    look(settings)
    connection.execute("DELETE FROM training.unopened_windows")

    assert violated(connection, settings) == {OLD}


def test_a_row_that_was_being_written_during_a_survey_is_waited_for(
    connection: Connection, settings: Settings
) -> None:
    with connect(settings) as slow, slow.transaction():
        insert_trajectories(slow, [trajectory(OLD)])
        look(settings)
    assert violated(connection, settings) == set()
    assert violated(connection, settings, at_rest=True) == {OLD}

    look(settings)

    assert violated(connection, settings, at_rest=True) == set()


def test_rows_that_no_discovery_looks_for_in_time_are_found(
    connection: Connection, settings: Settings
) -> None:
    look(settings)
    running = window_id(clock.now(connection))
    insert_trajectories(connection, [trajectory(running)])
    late = "UPDATE training.survey SET surveyed_at = now() - make_interval(secs => %s)"
    connection.execute(late, [patience_seconds(settings) - 60])
    assert violated(connection, settings) == set()

    connection.execute(late, [patience_seconds(settings)])

    assert violated(connection, settings) == {running}


# --- what goes


def test_an_account_goes_with_its_rows(connection: Connection, settings: Settings) -> None:
    insert_trajectories(connection, [trajectory(hour(number)) for number in (1, 2)])
    insert_trajectories(connection, [named("w-1"), unnamed("2026-01-31 03:30")])
    look(settings)
    kept = hour(2), hour(3)
    connection.execute(
        'DELETE FROM trajectories WHERE coalesce("windowId", %s) <> ALL (%s)', (hour(3), [*kept])
    )

    prune_rows(settings, actor="test")

    assert on_record(connection).keys() == {*kept}
    assert violated(connection, settings, at_rest=True) == set()


IDS = (
    *("2026-01-31T09:00", "2026-01-31T24:00", "2026-01-31T23:00", "2026-01-31T09:30"),
    *("2026-02-28T00:00", "2026-02-29T00:00", "2028-02-29T00:00", "1900-02-29T00:00"),
    *("2000-02-29T00:00", "0000-02-29T00:00", "0000-01-01T00:00", "0004-02-29T00:00"),
    *("0001-01-01T00:00", "9999-12-31T23:00", "2026-13-01T00:00", "2026-00-01T00:00"),
    *("2026-04-31T00:00", "2026-04-30T00:00", "2026-06-00T00:00", "2026-1-31T09:00"),
    *("2026-01-31t09:00", "\uff12026-01-31T09:00", "2026-01-31T09:00Z", "+2026-01-31T09:00"),
    *("2026-01-31T09:00\n", "\n2026-01-31T09:00", "2026-01-31 09:00", ""),
)


def test_the_database_takes_the_same_ids_for_hours(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_trajectories(connection, [named(one) for one in IDS])
    monkeypatch.setattr("babylon_tasks.db.invariants.BAD_IDS", 0)  # all others have an account

    found = violated(connection, settings, at_rest=True)

    assert found == {one for one in IDS if is_window_id(one)}
    assert len(found) == 9
