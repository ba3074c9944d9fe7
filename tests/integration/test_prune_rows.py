"""Rows of windows that are over and done with go; reports keep their figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from factories import (
    EVER,
    exact_call,
    insert_outcomes,
    insert_trajectories,
    llm_call,
    market_outcome,
    step,
    trajectory,
)
from msgspec import structs
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db import late_rows, lineages, old_rows, progress, reports
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.data_report import verify_data
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.prune_rows import prune_rows
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.results import PrunedRows
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

TABLES = ("scores", "rejections", "consumption", "bets")


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(
        lookback_hours=48,
        max_staleness_hours=48,
        outcome_wait_hours=0,
        grace_seconds=0,
        min_group_size=2,
        max_group_size=4,
        held_out_share=0,
        keep_rows_days=30,
    )


def ages(connection: Connection, days: int = 31) -> None:
    """Nothing has changed for so long."""
    connection.execute(
        "UPDATE training.windows SET updated_at = updated_at - make_interval(days => %s),"
        " starts_at = least(starts_at, now() - make_interval(days => %s))",
        (days, days),
    )
    connection.execute(
        "UPDATE training.steps SET committed_at = committed_at - make_interval(days => %s)", (days,)
    )


def counts(connection: Connection, window: str = hour(1)) -> list[object]:
    return [
        *(
            column(
                connection,
                f"SELECT count(*) FROM training.{table} WHERE window_id = %s",  # noqa: S608
                window,
            )[0]
            for table in TABLES
        )
    ]


def trained_window(connection: Connection, make_settings: Callable[..., Settings]) -> None:
    """An hour with rows of all kinds, scored, trained, and read to its end."""
    settings = make_settings(
        lookback_hours=int(EVER),
        max_staleness_hours=int(EVER),
        outcome_wait_hours=0,
        grace_seconds=0,
        min_group_size=2,
        max_group_size=4,
        held_out_share=0,
    )
    rows = []
    for number in range(6):
        call = exact_call("YES") if number < 4 else llm_call("YES")
        made = trajectory(hour(1), f"agent-{number}", [step(0, [call], window=hour(1))])
        rows.append(made | {"finalPnL": 100.0 * number})
    rows.append(trajectory(hour(1), "agent-7") | {"stepsJson": "no JSON"})
    insert_trajectories(connection, rows)
    insert_outcomes(connection, [market_outcome("m-1", "YES", hour(1))])
    discover(settings, actor="test")
    score_window(settings, hour(1), actor="test")
    while train_window(
        settings, PeerTrainer(settings.data_dir), window=None, actor="test"
    ).action not in ("idle", "skipped"):
        pass
    assert column(connection, "SELECT state FROM training.windows") == ["trained"]


def figures(connection: Connection, settings: Settings) -> dict[str, Any]:
    """All that people are shown of the window, but for the event of the pruning itself."""
    history = reports.history(connection, hour(1))
    events = [event for event in history.events if event.kind != "rows_pruned"]
    shown = structs.asdict(structs.replace(history, events=events, waits_for=[]))
    return {
        "why": shown,
        "progress": progress.of_window(connection, "babylon", hour(1)),
        "data": [(one.usable, one.rejected) for one in verify_data(settings).windows],
    }


def test_reports_keep_their_figures(
    connection: Connection, make_settings: Callable[..., Settings], settings: Settings
) -> None:
    trained_window(connection, make_settings)
    ages(connection)
    assert all(counts(connection)), counts(connection)
    before = figures(connection, settings)

    pruned = prune_rows(settings, actor="test")

    assert counts(connection) == [0, 0, 0, 0]
    assert (pruned.windows, pruned.uses, pruned.manifests) == ([hour(1)], 4, 1)
    assert figures(connection, settings) == before
    assert before["why"]["uses"]
    assert before["why"]["rejections"]
    assert violations(connection, settings) == []
    assert prune_rows(settings, actor="test") == PrunedRows()


def test_a_dry_run_lists_the_windows_and_changes_nothing(
    connection: Connection, make_settings: Callable[..., Settings], settings: Settings
) -> None:
    trained_window(connection, make_settings)
    ages(connection)
    before = counts(connection)

    assert prune_rows(settings, actor="test", dry_run=True).windows == [hour(1)]
    assert counts(connection) == before


@pytest.mark.parametrize(
    "change",
    [
        "state = 'sealed'",
        "state = 'scored'",
        "state = 'training'",
        "state = 'failed'",  # it may be retried
        "rescore = 'outcomes came'",
        "waits_until = now() + interval '1 hour'",
        "updated_at = now() - interval '29 days'",
        "state = 'held_out'",  # one of the newest, which evaluation reads
        "state = 'held_out', reason = 'too_few_agents', waits_until = now()",
    ],
)
def test_what_is_still_needed_stays(
    connection: Connection, settings: Settings, change: str
) -> None:
    scored_window(connection, hour(1), state="trained")
    ages(connection)
    connection.execute(f"UPDATE training.windows SET {change}")  # type: ignore[arg-type]  # noqa: S608

    assert prune_rows(settings, actor="test").windows == []
    assert counts(connection)[0] == 4


def test_a_window_that_one_of_several_lineages_may_retry_stays(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(1), state="trained")
    ages(connection)
    lineages.ensure(connection, settings)
    connection.execute(
        "INSERT INTO training.lineage_windows (window_id, lineage, state)"
        " VALUES (%s, 'babylon', 'failed')",
        (hour(1),),
    )

    assert prune_rows(settings, actor="test").windows == []

    connection.execute("UPDATE training.lineage_windows SET state = 'trained'")
    assert prune_rows(settings, actor="test").windows == [hour(1)]


def test_held_out_windows_that_evaluation_no_longer_reads_go(
    connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_rows, "HELD_OUT_WINDOWS", 2)
    for number in range(4):
        scored_window(connection, hour(number), state="held_out")
    connection.execute("UPDATE training.windows SET updated_at = now() - interval '31 days'")

    assert prune_rows(settings, actor="test").windows == [hour(0), hour(1)]


def test_rows_are_kept_as_long_as_anything_may_look_back(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    scored_window(connection, hour(1), state="trained")
    ages(connection, days=50)
    for longer in ("lookback_hours", "outcome_wait_hours", "max_staleness_hours"):
        settings = make_settings(keep_rows_days=1, **{longer: 60 * 24})
        assert prune_rows(settings, actor="test").windows == []
    assert prune_rows(make_settings(keep_rows_days=1), actor="test").windows == [hour(1)]


def test_a_row_that_comes_to_a_pruned_hour_is_not_looked_at_and_nothing_is_rejected_twice(
    connection: Connection, make_settings: Callable[..., Settings], settings: Settings
) -> None:
    trained_window(connection, make_settings)
    ages(connection)
    prune_rows(settings, actor="test")
    insert_trajectories(connection, [trajectory(hour(1), "latecomer")])
    looks_back = make_settings(lookback_hours=int(EVER), grace_seconds=0)

    for _ in range(3):
        discover(looks_back, actor="test")
        reconcile(looks_back, actor="test")

    assert late_rows.reject_late(connection, looks_back, limit=9, actor="test") == 0
    assert counts(connection) == [0, 0, 0, 0]
    assert column(connection, "SELECT state FROM training.windows") == ["trained"]
    assert violations(connection, looks_back, at_rest=True) == []


def test_an_outcome_that_comes_later_does_not_wake_a_pruned_hour(
    connection: Connection, make_settings: Callable[..., Settings], settings: Settings
) -> None:
    trained_window(connection, make_settings)
    connection.execute("UPDATE training.windows SET state = 'skipped'")
    ages(connection)
    prune_rows(settings, actor="test")
    insert_outcomes(connection, [market_outcome("m-1", "NO", hour(3))])
    looks_back = make_settings(lookback_hours=int(EVER))

    discover(looks_back, actor="test")
    reconcile(looks_back, actor="test")

    assert column(connection, "SELECT state || coalesce(rescore, '') FROM training.windows") == [
        "skipped"
    ]


def test_outcomes_that_no_window_needs_go_and_are_not_copied_again(
    connection: Connection, settings: Settings
) -> None:
    days = [f"2026-01-{day:02d}T00:00" for day in (1, 2, 3, 20)]
    insert_outcomes(connection, [market_outcome(f"m-{day[8:10]}", "YES", day) for day in days])
    scored_window(connection, days[2], state="failed")
    discover(settings, actor="test")
    kept = 24.0 * 10
    outcomes = "SELECT window_id FROM training.outcomes ORDER BY 1"
    assert column(connection, outcomes) == days

    assert old_rows.prune_outcomes(connection, kept) == 2
    assert column(connection, outcomes) == days[2:], "the failed window may be scored again"
    connection.execute("UPDATE training.windows SET rows_pruned_at = now()")
    assert old_rows.prune_outcomes(connection, kept) == 1
    discover(settings, actor="test")
    assert column(connection, outcomes) == days[3:]


def test_the_manifest_of_an_ended_step_is_shortened_once_all_its_windows_are_pruned(
    connection: Connection, make_settings: Callable[..., Settings], settings: Settings
) -> None:
    trained_window(connection, make_settings)
    (before,) = column(connection, "SELECT manifest FROM training.steps")
    ages(connection)

    prune_rows(settings, actor="test")

    (after,) = column(connection, "SELECT manifest FROM training.steps")
    assert isinstance(before, dict)
    assert before["groups"]
    assert after == before | {"groups": []}
    assert column(connection, "SELECT parent_step FROM training.steps") == [0]
