"""Lineages that come later, fall silent or run an older release: nothing is lost, none waits."""

from __future__ import annotations

import threading

from factories import WINDOW
from scored_windows import column, hour
from two_lineages import NAMES, Lineage, Make, agents_of, silence

from babylon_tasks.actions import TrainAction
from babylon_tasks.db import lineage_windows, lineages, reports, windows
from babylon_tasks.db.lineage_windows import Together
from babylon_tasks.db.session import Connection, session
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.states import WindowState

# --- lineages that come and go


def test_a_lineage_that_comes_later_takes_what_is_not_done(
    connection: Connection, make_settings: Make
) -> None:
    first = Lineage(make_settings(max_windows_per_step=1))
    for name in NAMES:
        agents_of(connection, name, hour(1))
        agents_of(connection, name, hour(2))
    first.train(hour(1))
    assert first.state(connection, hour(1)) == "trained", "the only lineage ends it for good"
    assert column(connection, "SELECT count(*) FROM training.lineage_windows") == [0]
    later = Lineage(make_settings(lineage="other", data_dir=make_settings().data_dir / "other"))

    assert later.train(hour(1)).action is TrainAction.SKIPPED
    assert later.train(hour(2)).action is TrainAction.COMMITTED
    assert first.state(connection, hour(2)) == "scored"


def test_what_the_only_lineage_knew_of_its_windows_stays_its_own_when_another_comes(
    connection: Connection, make_settings: Make
) -> None:
    """Left-over hours do not turn into a backlog, nor do failures start to count again."""
    first = Lineage(make_settings(retry_delay_seconds=3600))
    for number in (1, 2, 3):
        agents_of(connection, "babylon", hour(number))
    connection.execute("UPDATE training.windows SET left_over = 3")
    first.train(hour(2), first.peer(falls="refuses"))

    def known() -> list[tuple[object, ...]]:
        rows = windows.list_windows(connection, lineage="babylon")
        return [(w.window_id, w.left_over, w.training_attempts, w.due) for w in rows]

    before = known()
    assert (hour(2), 3, 1, False) in before
    later = make_settings(lineage="other", data_dir=make_settings().data_dir / "other")
    lineages.ensure(connection, later)

    assert known() == before
    assert reports.system_state(connection, "babylon").oldest_due is None
    assert [w.left_over for w in windows.list_windows(connection, lineage="other")] == [0, 0, 0]


def test_two_lineages_that_end_with_a_window_at_once_see_each_others_end(
    connection: Connection, two: list[Lineage]
) -> None:
    agents_of(connection, "babylon")
    together: list[Together | None] = []

    def end() -> None:
        with session(two[1].settings) as other, other.transaction():
            together.append(lineage_windows.settle(other, WINDOW, "other", WindowState.SKIPPED))

    ends = threading.Thread(target=end)
    with connection.transaction():
        first = lineage_windows.settle(connection, WINDOW, "babylon", WindowState.TRAINED)
        ends.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while column(connection, waiting) == [0] and ends.is_alive():
            connection.execute("SELECT pg_stat_clear_snapshot()")
    ends.join()

    assert first == Together(WindowState.SCORED, None)
    assert together == [Together(WindowState.TRAINED, None)]


def test_nothing_waits_for_a_lineage_that_has_been_silent_for_a_week(
    connection: Connection, two: list[Lineage]
) -> None:
    babylon, _ = two
    for number in (1, 2):
        agents_of(connection, "babylon", hour(number))
    babylon.train(hour(1))
    assert windows.get(connection, hour(1)).state == "scored"
    silence(connection, "other")

    babylon.train(hour(2))
    assert windows.get(connection, hour(2)).state == "trained"
    assert windows.get(connection, hour(1)).state == "scored"
    reconcile(babylon.settings, actor="test")
    assert windows.get(connection, hour(1)).state == "trained"


# --- a release that knows one lineage, beside this one


def test_an_older_release_reads_and_writes_what_it_always_did(
    connection: Connection, make_settings: Make
) -> None:
    """The only lineage leaves its part in training.windows, as its steps were always found."""
    only = Lineage(make_settings(retry_delay_seconds=0))
    agents_of(connection, "babylon")
    only.train(WINDOW, only.peer(falls="after_writing"))
    during = "SELECT state, training_tries FROM training.windows"
    assert connection.execute(during).fetchall() == [("training", 1)]

    # What the older one does in this state: it ends the step's part in the window by itself.
    assert only.train(WINDOW).action is TrainAction.ADOPTED
    ended = "SELECT state, training_tries, left_over FROM training.windows"
    assert connection.execute(ended).fetchall() == [("trained", 0, 0)]
    assert column(connection, "SELECT count(*) FROM training.lineage_windows") == [0]
    assert column(connection, "SELECT count(*) FROM training.rejections WHERE lineage <> ''") == [0]


def test_what_an_older_release_refused_is_refused_for_every_lineage(
    connection: Connection, two: list[Lineage]
) -> None:
    ids = agents_of(connection, "other")
    for trajectory in ids:
        connection.execute(
            "INSERT INTO training.rejections"
            " (trajectory_id, window_id, reward_version, stage, reason)"
            " VALUES (%s, %s, 1, 'dataset', 'stale') ON CONFLICT DO NOTHING",
            (trajectory, WINDOW),
        )
    for one in two:
        assert one.train(WINDOW).action is TrainAction.SKIPPED
