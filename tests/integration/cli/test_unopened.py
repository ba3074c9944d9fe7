"""Rows without a window, and what became of one trajectory: every command uses the same words."""

from __future__ import annotations

import pytest
from command_line import Run, one_contract
from factories import fill_window, insert_trajectories, trajectory
from scored_windows import hour, scored_window

from babylon_tasks.db.late_rows import reject_late
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.settings import Settings, load_settings

pytestmark = one_contract
OLD, AHEAD, MISSPELT = hour(1), "2999-01-01T00:00", "2026-11-26T5:00"
ACCOUNTS = {OLD: "before_lookback", AHEAD: "not_begun", MISSPELT: "bad_window_id"}
KINDS = ("hours before the look-back", "hours that have not begun", "malformed window ids")


@pytest.fixture
def settings(run: Run) -> Settings:
    run("status")  # sets the environment
    load_settings.cache_clear()
    return load_settings()


@pytest.fixture
def rows(connection: Connection, settings: Settings) -> dict[str, str]:
    """A trajectory's id for each kind of rows without a window."""
    made = [trajectory(window, windowId=window) for window in (OLD, AHEAD)]
    made.append(trajectory(OLD, windowId=MISSPELT))
    ids = insert_trajectories(connection, made)
    discover(settings, actor="test")
    return dict(zip(ACCOUNTS, ids, strict=True))


def test_status_and_doctor_count_them(run: Run, rows: dict[str, str]) -> None:
    status = run("status").out
    checks = [one for one in run("doctor", "--json").document["findings"] if one["check"] == "rows"]
    doctor = "\n".join(one["detail"] for one in checks)
    for kind in KINDS:
        assert f"not opened: 1 {kind} (" in status
        assert f"not opened: 1 {kind} (" in doctor
    assert sorted(one["outcome"] for one in checks) == ["ok", "warn", "warn"]
    found = run("status", "--json").document["unopened"]
    assert {one["first"]: one["reason"] for one in found} == ACCOUNTS


def test_verify_data_has_the_reason_of_each_hour(run: Run, rows: dict[str, str]) -> None:
    found = run("verify-data", "--json").document
    assert {one["window"]: one["reason"] for one in found["windows"]} == ACCOUNTS
    assert "not opened: before_lookback" in run("verify-data").out


@pytest.mark.parametrize("window", ["0001-01-01T00:00", "9999-12-31T23:00"])
def test_a_row_of_the_calendars_first_or_last_hour_is_reported_as_any_other(
    run: Run, connection: Connection, window: str
) -> None:
    (row,) = insert_trajectories(connection, [trajectory(OLD, windowId=window)])
    for command in (["verify-data"], ["show", row], ["why", row], ["status"], ["doctor"]):
        said = run(*command)
        assert "bug" not in said.err, said.err
    assert "Will ACME close higher?" in run("show", row).out
    fill_window(connection, OLD)
    found = {one["window"]: one for one in run("verify-data", "--json").document["windows"]}
    assert found[OLD]["usable"] == 4
    assert found[window]["trajectories"] == 1


def test_why_has_the_reason_of_an_hour_and_of_a_trajectory(run: Run, rows: dict[str, str]) -> None:
    for (window, reason), kind in zip(ACCOUNTS.items(), KINDS, strict=True):
        of_window = run("why", window)
        assert of_window.code == 1
        assert f"{window} is not opened ({reason}): it is one of the {kind}" in of_window.err
        of_row = run("why", rows[window])
        assert of_row.code == 0
        assert f"of {window} is {reason}: it is one of the {kind}" in of_row.out
        document = run("why", rows[window], "--json").document
        assert (document["window"], document["account"]) == (window, reason)


def test_a_failed_window_accounts_for_rows_that_were_never_scored(
    run: Run, connection: Connection, settings: Settings
) -> None:
    (row,) = fill_window(connection, OLD, agents=1)
    connection.execute(
        "INSERT INTO training.windows (window_id, starts_at, held_out, state, reason)"
        " VALUES (%s, now(), false, 'failed', 'scoring failed 3 times')",
        (OLD,),
    )
    assert "invariants is violated" in run("doctor", "--invariants").err
    assert f"none of its rows is scored; `babylon-tasks windows retry {OLD}`" in run("why", OLD).out
    found = run("why", row, "--json").document
    assert (found["account"], found["detail"].partition(";")[0]) == (
        "failed",
        "its hour is failed: scoring failed 3 times",
    )

    connection.execute("UPDATE training.windows SET reason = NULL")
    assert "windows_failed_without_reason" in run("doctor", "--invariants").out


def test_why_follows_a_trajectory_through_its_windows(
    run: Run, connection: Connection, settings: Settings
) -> None:
    row, *_ = scored_window(connection, hour(1), state="skipped")
    scored_window(connection, hour(2))
    assert run("why", row, "--json").document["account"] == "scored"

    connection.execute(
        'UPDATE trajectories SET "windowId" = %s WHERE "trajectoryId" = %s', (hour(2), row)
    )
    assert run("why", row, "--json").document["account"] == "due"
    assert reject_late(connection, settings, limit=4, actor="test") == 1
    found = run("why", row, "--json").document
    assert (found["window"], found["account"]) == (hour(2), "late")
    assert [one["window"] for one in found["scores"]] == [hour(1)]
    assert "came to the window after it had been sealed" in run("why", row).out

    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = %s', (row,))
    found = run("why", row, "--json").document
    assert (found["window"], found["account"]) == (None, "deleted")


def test_a_row_that_comes_to_a_pruned_hour_is_rejected_for_that(
    run: Run, connection: Connection, settings: Settings
) -> None:
    scored_window(connection, OLD, state="trained")
    connection.execute(
        "UPDATE training.windows SET rows_pruned_at = now(),"
        """ row_counts = '{"usable": 4, "usable_by": {}, "rejections": [], "uses": []}'"""
    )
    connection.execute("DELETE FROM training.scores")
    (row,) = insert_trajectories(connection, [trajectory(OLD, "latecomer")])

    (found,) = run("verify-data", "--json").document["windows"]

    assert (found["usable"], found["rejected"]) == (4, {"hour_pruned": 1})
    assert run("why", row, "--json").document["account"] == "hour_pruned"
    assert run("doctor", "--invariants").code == 0
