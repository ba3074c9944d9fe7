"""Windows are opened, sealed and moved; from any number of beats at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from factories import (
    EVER,
    WINDOW,
    fill_window,
    insert_outcomes,
    insert_trajectories,
    market_outcome,
    trajectory,
)
from scored_windows import column, hour, scored_window

from babylon_tasks.db import clock, window_transitions, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import BadWindowId, IllegalTransition, WindowNotFound
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.results import Discovered
from babylon_tasks.settings import Settings
from babylon_tasks.states import CLOSE, EXPIRE, WindowState
from babylon_tasks.windows import window_id, window_start


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(held_out_share=0, lookback_hours=int(EVER), grace_seconds=0)


@pytest.fixture
def patient(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(held_out_share=0, lookback_hours=int(EVER))


def look(settings: Settings) -> Discovered:
    return discover(settings, actor="test")


def state(connection: Connection, window: str) -> str:
    return windows.get(connection, window).state


# --- opening


def test_an_hour_that_is_over_and_quiet_is_sealed_with_its_counts_and_sent_to_scoring(
    connection: Connection, settings: Settings
) -> None:
    fill_window(connection, agents=3)

    found = look(settings)

    assert (found.opened, found.sealed, found.to_score) == ([WINDOW], [WINDOW], [WINDOW])
    row = windows.get(connection, WINDOW)
    assert (row.state, row.trajectories, row.agents) == ("sealed", 3, 3)
    assert column(connection, "SELECT kind FROM training.events ORDER BY id") == [
        "opened",
        "sealed",
    ]


def test_looking_twice_changes_nothing_and_sends_nothing(
    connection: Connection, settings: Settings
) -> None:
    fill_window(connection)
    look(settings)

    assert look(settings) == Discovered([], [], [], [], [])


def test_the_hour_that_is_running_is_opened_and_not_sealed(
    connection: Connection, patient: Settings
) -> None:
    window = window_id(clock.now(connection))  # should it turn now, the grace keeps it open
    fill_window(connection, window)

    found = look(patient)

    assert (found.opened, found.sealed) == ([window], [])


def test_rows_without_a_window_id_belong_to_the_hour_in_which_they_started(
    connection: Connection, settings: Settings
) -> None:
    starts = window_start(WINDOW).replace(tzinfo=None) + timedelta(minutes=59)
    row = trajectory(None, startTime=starts, createdAt=starts)
    insert_trajectories(connection, [row])

    found = look(settings)

    assert (found.opened, found.sealed) == ([WINDOW], [WINDOW])
    assert windows.get(connection, WINDOW).trajectories == 1


def test_hours_before_the_lookback_are_opened_only_when_asked_for(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(lookback_hours=72, grace_seconds=0)
    old = "2020-05-05T05:00"
    fill_window(connection, old)
    assert look(settings).opened == []

    found = discover(settings, actor="test", since=window_start(old))

    assert (found.opened, found.sealed, found.to_score) == ([old], [old], [old])


def test_an_hour_that_is_backfilled_is_complete_only_if_discovery_does_not_reach_it(
    connection: Connection, make_settings: Callable[..., Settings], patient: Settings
) -> None:
    """With the usual grace: an hour within the lookback may still get rows."""
    since = window_start(WINDOW)
    fill_window(connection)

    assert discover(patient, actor="test", since=since).sealed == []
    assert discover(make_settings(lookback_hours=72), actor="test").sealed == []
    assert discover(make_settings(lookback_hours=72), actor="test", since=since).sealed == [WINDOW]


def test_outcomes_before_the_lookback_are_copied_only_when_asked_for(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(lookback_hours=72)
    old = "2020-05-05T05:00"
    insert_outcomes(connection, [market_outcome("m-1")])
    assert look(settings).outcomes == 1
    insert_outcomes(connection, [market_outcome("m-2", window=old)])
    assert look(settings).outcomes == 0

    assert discover(settings, actor="test", since=window_start(old)).outcomes == 1


def test_a_window_from_the_future_waits_until_it_has_begun(
    connection: Connection, settings: Settings
) -> None:
    fill_window(connection, "2999-01-01T00:00")

    assert look(settings).opened == []


def test_an_invalid_window_id_is_reported_and_stops_nothing(
    connection: Connection, settings: Settings
) -> None:
    fill_window(connection)
    insert_trajectories(connection, [trajectory(WINDOW, windowId="window-7")])

    found = look(settings)

    assert (found.opened, found.malformed) == ([WINDOW], ["window-7"])
    assert look(settings).malformed == []


def test_a_share_of_windows_is_held_out_the_same_for_every_caller(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(held_out_share=0.5, lookback_hours=int(EVER))
    for number in range(20):
        insert_trajectories(connection, [trajectory(hour(number))])
    look(settings)

    first = dict(connection.execute("SELECT window_id, held_out FROM training.windows").fetchall())
    connection.execute("DELETE FROM training.windows")
    look(settings)
    again = dict(connection.execute("SELECT window_id, held_out FROM training.windows").fetchall())

    assert first == again
    assert 0 < sum(first.values()) < 20


# --- sealing


def test_a_window_is_not_sealed_while_rows_of_it_still_come(
    connection: Connection, settings: Settings, patient: Settings
) -> None:
    fill_window(connection)
    assert look(patient).sealed == []

    assert look(settings).sealed == [WINDOW]


def test_a_stream_that_never_stops_does_not_keep_a_window_open_for_ever(
    connection: Connection, patient: Settings
) -> None:
    fill_window(connection)
    look(patient)
    assert state(connection, WINDOW) == "open"

    connection.execute("UPDATE training.windows SET opened_at = now() - interval '2 hours'")
    assert look(patient).sealed == [WINDOW]


def test_many_beats_at_once_open_seal_and_send_each_window_once(
    connection: Connection, settings: Settings
) -> None:
    hours = [hour(number) for number in range(10)]
    for window in hours:
        fill_window(connection, window, agents=2)
    barrier = threading.Barrier(6)
    found: list[Discovered] = []

    def beat() -> None:
        barrier.wait()
        found.append(look(settings))

    threads = [threading.Thread(target=beat) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    forgotten = look(settings)

    for name in ("opened", "sealed", "to_score"):
        each = [window for one in [*found, forgotten] for window in getattr(one, name)]
        assert sorted(each) == sorted(hours), name
    kinds = "SELECT kind, count(*) FROM training.events GROUP BY kind ORDER BY kind"
    assert connection.execute(kinds).fetchall() == [("opened", 10), ("sealed", 10)]


# --- moving


def test_a_state_changes_only_along_the_table_and_only_from_where_it_is(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)

    with pytest.raises(IllegalTransition, match="leads to skipped or trained, not open"):
        window_transitions.move(connection, WINDOW, CLOSE, WindowState.OPEN, actor="test")
    with pytest.raises(IllegalTransition, match="is scored; to expire it, it must be scoring"):
        window_transitions.move(connection, WINDOW, EXPIRE, WindowState.SEALED, actor="test")
    assert windows.get(connection, WINDOW).state == "scored"
    window_transitions.move(
        connection, WINDOW, CLOSE, WindowState.SKIPPED, actor="test", reason="x"
    )
    assert windows.get(connection, WINDOW).reason == "x"
    assert windows.counts(connection)["skipped"] == 1


def test_windows_are_listed_newest_first_and_filtered(
    connection: Connection, settings: Settings
) -> None:
    for number in (1, 3, 2):
        scored_window(connection, hour(number), state="trained" if number == 2 else "scored")

    def listed(**filters: object) -> list[str]:
        return [w.window_id for w in windows.list_windows(connection, **filters)]  # type: ignore[arg-type]

    assert listed() == [hour(3), hour(2), hour(1)]
    assert listed(states=[WindowState.TRAINED]) == [hour(2)]
    assert listed(since=window_start(hour(2)), limit=1) == [hour(3)]
    assert listed(min_agents=1) == []


def test_an_unknown_window_is_named_with_what_to_do(connection: Connection) -> None:
    with pytest.raises(WindowNotFound, match="backfill"):
        windows.get(connection, WINDOW)
    with pytest.raises(BadWindowId):
        windows.get(connection, "yesterday")


# --- the hot queries stay on their indexes


def test_finding_windows_costs_a_probe_a_window_and_not_a_scan(
    connection: Connection, settings: Settings
) -> None:
    for number in range(6):
        fill_window(connection, hour(number), agents=50)
    connection.execute("ANALYZE trajectories")
    connection.execute("SET enable_seqscan = on")
    from babylon_tasks.db.sql import queries

    plan = connection.execute(
        "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) " + queries("open_and_seal")["seen"],
        {"since": hour(0), "until": hour(9), "limit": 1000},
    ).fetchall()
    text = "\n".join(row[0] for row in plan)

    assert "Seq Scan on trajectories" not in text
    assert text.count("trajectories_windowId") == 2
