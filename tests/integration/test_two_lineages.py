"""Two lineages in one database: each learns from every window that is of use to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from factories import WINDOW
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.actions import TrainAction
from babylon_tasks.db import (
    due_windows,
    invariants,
    lineage_windows,
    lineages,
    old_rows,
    progress,
    reports,
    scoring,
    window_transitions,
    windows,
)
from babylon_tasks.db.lineage_windows import Together
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.pipeline.data_report import verify_data
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.live_lineages import live_lineages
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.reasons import Reason
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState
from babylon_tasks.tasks.system_metrics import SystemMetrics

NAMES = ("babylon", "other")
Make = Callable[..., Settings]


class Lineage:
    """A lineage with its own settings, data folder and trainer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = settings.lineage
        self.trainer = self.peer()

    def peer(self, **how: object) -> PeerTrainer:
        return PeerTrainer(self.settings.data_dir, self.name, **how)  # type: ignore[arg-type]

    def train(self, window: str | None = None, trainer: PeerTrainer | None = None) -> TrainOutcome:
        trainer = trainer or self.trainer
        return train_window(self.settings, trainer, window=window, actor="test")

    def state(self, connection: Connection, window: str = WINDOW) -> str:
        return windows.get(connection, window, lineage=self.name).state


@pytest.fixture
def two(connection: Connection, make_settings: Make) -> list[Lineage]:
    made = []
    for name in NAMES:
        data = make_settings().data_dir / name
        settings = make_settings(
            lineage=name, data_dir=data, retry_delay_seconds=0, max_windows_per_step=1
        )
        lineages.ensure(connection, settings)
        made.append(Lineage(settings))
    return made


def agents_of(connection: Connection, name: str, window: str = WINDOW) -> list[str]:
    """A scored group of the lineage's agents."""
    return scored_window(connection, window, key=name, model=f"{name}@0")


def used_by(connection: Connection, name: str) -> set[object]:
    query = "SELECT trajectory_id FROM training.consumption WHERE lineage = %s AND use = 'trained'"
    return set(column(connection, query, name))


def silence(connection: Connection, name: str) -> None:
    """Nobody has served or trained the lineage for long."""
    ago = timedelta(days=8)
    connection.execute(
        "UPDATE training.lineages SET updated_at = now() - %s WHERE name = %s", (ago, name)
    )


@pytest.fixture(autouse=True)
def _nothing_is_violated(connection: Connection, settings: Settings) -> object:
    yield
    assert invariants.violations(connection, settings) == []


# --- hours of one lineage's agents


def test_hours_played_in_turn_are_trained_by_whom_they_are_of_use_to(
    connection: Connection, two: list[Lineage]
) -> None:
    """Whoever takes a window first: the wrong lineage closes it for itself only."""
    ids: dict[str, set[object]] = {name: set() for name in NAMES}
    for number in range(6):
        name = NAMES[number % 2]
        ids[name] |= set(agents_of(connection, name, hour(number)))

    for number in range(6):
        for one in reversed(two) if number < 3 else two:
            one.train(hour(number))

    for one in two:
        assert used_by(connection, one.name) == ids[one.name]
        states = [one.state(connection, hour(number)) for number in range(6)]
        ours = NAMES.index(one.name)
        assert states == ["trained" if n % 2 == ours else "skipped" for n in range(6)]
    assert windows.counts(connection)["trained"] == 6


def test_a_window_stays_scored_until_every_lineage_is_done_with_it(
    connection: Connection, two: list[Lineage]
) -> None:
    babylon, other = two
    agents_of(connection, "other")

    assert babylon.train(WINDOW).action is TrainAction.SKIPPED
    assert windows.get(connection, WINDOW).state == "scored"
    assert babylon.state(connection) == "skipped"
    assert babylon.train(WINDOW).reason == f"window {WINDOW} is skipped: {Reason.OTHER_POLICY}"
    assert babylon.train().action is TrainAction.IDLE

    assert other.train(WINDOW).action is TrainAction.COMMITTED
    row = windows.get(connection, WINDOW)
    assert (row.state, row.reason) == ("trained", None)
    assert babylon.state(connection) == "skipped"


# --- hours of both


def test_both_learn_from_an_hour_of_both(connection: Connection, two: list[Lineage]) -> None:
    ids = {name: set(agents_of(connection, name)) for name in NAMES}

    assert [one.train(WINDOW).step for one in two] == [1, 1]

    assert {name: used_by(connection, name) for name in NAMES} == ids
    assert windows.get(connection, WINDOW).state == "trained"


def test_two_steps_on_one_window_run_at_once(connection: Connection, two: list[Lineage]) -> None:
    babylon, other = two
    for name in NAMES:
        agents_of(connection, name)
    during: list[TrainOutcome] = []

    def meanwhile() -> None:
        assert other.state(connection) == "scored"
        during.append(other.train(WINDOW))
        assert windows.get(connection, WINDOW).state == "training"
        assert (babylon.state(connection), other.state(connection)) == ("training", "trained")

    babylon.train(WINDOW, babylon.peer(during=meanwhile))

    assert [outcome.action for outcome in during] == [TrainAction.COMMITTED]
    assert windows.get(connection, WINDOW).state == "trained"


def test_what_both_may_learn_from_is_used_once_by_each(
    connection: Connection, two: list[Lineage]
) -> None:
    """Answers of the base model, which both start from; Babylon's mark on them excludes neither."""
    ids = set(scored_window(connection, model=two[0].settings.base_model))
    for one in two:
        assert one.train(WINDOW).action is TrainAction.COMMITTED
        assert used_by(connection, one.name) == ids
    marks = column(connection, 'SELECT DISTINCT "usedInTraining" FROM trajectories')
    assert marks == [True]


def test_the_mark_of_another_trainer_excludes_a_trajectory_from_both(
    connection: Connection, two: list[Lineage]
) -> None:
    agents_of(connection, "babylon")
    for mark, used in (("babylon@0", False), ("somebody-7", True)):
        connection.execute(
            'UPDATE trajectories SET "usedInTraining" = true, "trainedInBatch" = %s', (mark,)
        )
        for one in two:
            (rows,) = stream_window(connection, WINDOW, one.settings)
            assert {row.already_used for row in rows} == {used}


# --- failures


def test_what_fails_for_one_lineage_uses_up_no_attempt_of_the_other(
    connection: Connection, two: list[Lineage]
) -> None:
    babylon, other = two
    for name in NAMES:
        agents_of(connection, name)
    for _ in range(babylon.settings.max_attempts):
        failed = babylon.train(WINDOW, babylon.peer(falls="refuses"))
        assert failed.action is TrainAction.FAILED
    row = windows.get(connection, WINDOW, lineage="babylon")
    assert (row.state, row.training_attempts) == ("failed", 3)
    assert "training failed 3 times" in str(row.reason)

    row = windows.get(connection, WINDOW, lineage="other")
    assert (row.state, row.training_attempts, row.due) == ("scored", 0, True)
    assert other.train(WINDOW).action is TrainAction.COMMITTED
    failed_windows = reports.system_state(connection, "babylon").failed
    assert [one.window for one in failed_windows] == [WINDOW]
    assert reports.system_state(connection, "other").failed == []
    assert windows.get(connection, WINDOW).state == "failed"


@pytest.mark.parametrize("other_first", [False, True])
def test_a_retry_is_for_the_lineage_that_failed(
    connection: Connection, two: list[Lineage], other_first: bool
) -> None:
    babylon, other = two
    ids = agents_of(connection, "babylon")
    for _ in range(babylon.settings.max_attempts):
        babylon.train(WINDOW, babylon.peer(falls="refuses"))
    if other_first:
        other.train(WINDOW)
    assert window_transitions.retry(connection, WINDOW, actor="test") == "scored"

    assert babylon.train(WINDOW).action is TrainAction.COMMITTED
    assert used_by(connection, "babylon") == set(ids)
    if not other_first:
        other.train(WINDOW)
    assert other.state(connection) == "skipped"
    assert windows.get(connection, WINDOW).state == "trained"


def test_a_retry_waits_for_a_lineage_that_was_silent(
    connection: Connection, two: list[Lineage]
) -> None:
    """Its worker was stopped for long; the operator asks for the window before starting it."""
    babylon, other = two
    agents_of(connection, "babylon")
    for _ in range(babylon.settings.max_attempts):
        babylon.train(WINDOW, babylon.peer(falls="refuses"))
    other.train(WINDOW)
    silence(connection, "babylon")

    assert window_transitions.retry(connection, WINDOW, actor="test") == "scored"
    reconcile(other.settings, actor="test")
    assert babylon.train(WINDOW).action is TrainAction.COMMITTED


def test_a_worker_that_dies_keeps_the_window_from_no_other_lineage(
    connection: Connection, two: list[Lineage]
) -> None:
    babylon, other = two
    for name in NAMES:
        agents_of(connection, name)
    babylon.train(WINDOW, babylon.peer(falls="after_writing"))

    assert other.train(WINDOW).action is TrainAction.COMMITTED
    assert babylon.train(WINDOW).action is TrainAction.ADOPTED
    assert windows.get(connection, WINDOW).state == "trained"


# --- messages


def test_each_lineage_is_sent_what_it_may_take(connection: Connection, two: list[Lineage]) -> None:
    babylon, _ = two
    agents_of(connection, "other")

    def sent() -> list[list[str]]:
        return [due_windows.pick_to_train(connection, one.settings, limit=10) for one in two]

    assert sent() == [[WINDOW], [WINDOW]], "what was sent to one was not sent to the other"
    assert sent() == [[], []]
    babylon.train(WINDOW)
    connection.execute("UPDATE training.lineage_windows SET enqueued_at = NULL")
    assert sent() == [[], [WINDOW]]


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


# --- rewards


def test_what_one_lineage_has_used_is_scored_again_for_the_other(
    connection: Connection, two: list[Lineage]
) -> None:
    babylon, other = two
    ids = scored_window(connection, model=babylon.settings.base_model)
    babylon.train(WINDOW)
    assert scoring.consumed(connection, WINDOW) == frozenset()
    other.train(WINDOW)
    assert scoring.consumed(connection, WINDOW) == set(ids)


# --- reports


def test_each_lineage_sees_its_own_state(connection: Connection, two: list[Lineage]) -> None:
    babylon, other = two
    agents_of(connection, "other")
    babylon.train(WINDOW)

    for one, state in ((babylon, "skipped"), (other, "scored")):
        assert [w.state for w in windows.list_windows(connection, lineage=one.name)] == [state]
        assert windows.counts(connection, lineage=one.name)[state] == 1
        seen = progress.of_window(connection, one.name, WINDOW)
        assert seen is not None
        assert seen.state == state
        history = reports.history(connection, WINDOW, lineage=one.name)
        assert history.window.state == state
        assert [(was.lineage, was.state) for was in history.lineages] == [("babylon", "skipped")]
        assert bool(history.rejections) == (one is babylon)
    system = reports.system_state(connection, "babylon")
    assert (system.oldest_due, system.others) == (None, ["other"])
    due = reports.system_state(connection, "other").oldest_due
    assert due is not None
    assert (due.window, due.state) == (WINDOW, "scored")


def test_what_one_lineage_refuses_and_uses_is_not_counted_for_the_other(
    connection: Connection, two: list[Lineage]
) -> None:
    for name in NAMES:
        agents_of(connection, name)
    for one in two:
        one.train(WINDOW)

    def figures() -> list[object]:
        found: list[object] = []
        for one in two:
            seen = progress.of_window(connection, one.name, WINDOW)
            history = reports.history(connection, WINDOW, lineage=one.name)
            assert seen is not None
            refused = {row.reason: row.count for row in history.rejections}
            data = verify_data(one.settings).windows[0]
            found.append((seen.rejected, refused, history.uses, data.usable, data.rejected))
        return found

    theirs = {Reason.OTHER_POLICY: 4}
    each = (theirs, theirs, {"trained": 4}, 4, theirs)
    assert figures() == [each, each]
    connection.execute("UPDATE training.windows SET updated_at = now() - interval '1 hour'")
    assert old_rows.prune(connection, WINDOW, 0, actor="test") is not None
    assert figures() == [each, each]


# --- what one beat does for all


def test_one_beat_sends_for_every_lineage(
    connection: Connection, two: list[Lineage], make_settings: Make
) -> None:
    agents_of(connection, "other")
    found = reconcile(two[0].settings, actor="test")
    assert (found.to_train, found.others) == ([WINDOW], {"other": [WINDOW]})
    connection.execute("UPDATE training.lineage_windows SET enqueued_at = NULL")
    seen = discover(two[1].settings, actor="test")
    assert (seen.to_train, seen.others) == ([WINDOW], {"babylon": [WINDOW]})

    two[0].train(WINDOW)
    two[1].train(WINDOW)
    connection.execute("UPDATE training.checkpoints SET created_at = now() - interval '1 day'")
    left = reconcile(two[0].settings, actor="test")
    assert (left.to_train, left.others) == ([], {"other": [None]}), "its head is not evaluated"
    assert live_lineages(two[1].settings) == ["other", "babylon"]
    silence(connection, "babylon")
    assert live_lineages(two[1].settings) == ["other"]
    assert live_lineages(make_settings(lineage="third")) == ["third", "other"]


def test_one_beat_exports_the_figures_of_every_lineage(
    connection: Connection, two: list[Lineage], redis_url: str, make_settings: Make
) -> None:
    agents_of(connection, "other")
    two[0].train(WINDOW)
    collector = SystemMetrics(make_settings(REDIS_URL=redis_url))
    figures = {
        (sample.name, *sample.labels.values()): sample.value
        for family in collector.collect()
        for sample in family.samples
    }
    assert figures["babylon_windows", "babylon", "skipped"] == 1
    assert figures["babylon_windows", "other", "scored"] == 1
    assert figures["babylon_windows", "other", "skipped"] == 0
    assert figures["babylon_queue_messages", "gpu.other"] == 0
    assert figures["babylon_head_step", "other"] == 0


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
