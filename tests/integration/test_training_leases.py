"""Who may change a lineage: one holder of its lease, and nobody who was superseded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from factories import WINDOW, insert
from peer import PeerTrainer
from psycopg.errors import CheckViolation
from scored_windows import column, scored_window
from structlog.contextvars import clear_contextvars, get_contextvars
from training_steps import RESULT, expire, peer, planned_step, state, train

from babylon_tasks.db import consumption, lineages, steps
from babylon_tasks.db.commit_step import commit_step
from babylon_tasks.db.consumption import Use
from babylon_tasks.db.fail_step import fail_step
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import DatabaseError, StaleLease
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings
from babylon_tasks.states import POSTPONE, RESTART, START, TAKE_OVER, VERIFY, StepState
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.base import OnProgress
from babylon_tasks.training.protocol import RequestProgress, TrainRequest

pytestmark = pytest.mark.contract("today")  # it waits for leases, whatever the contract


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=3, lease_seconds=30)


def verified(connection: Connection, lease: lineages.Lease, step: steps.Step) -> steps.Step:
    """The step with its result stored, one transition before its commit."""
    columns = msgspec.structs.asdict(RESULT)
    return steps.advance(connection, lease, step, VERIFY, actor="test", columns=columns)


def test_of_many_claimants_one_gets_the_lease(
    connection: Connection, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    lineages.ensure(connection, settings)
    barrier = threading.Barrier(8)
    won: list[int] = []

    def claim(number: int) -> None:
        from babylon_tasks.db.session import connect

        with connect(settings) as own:
            barrier.wait()
            lease = lineages.claim(own, "babylon", f"worker-{number}", 30)
        if lease is not None:
            won.append(lease.fencing_token)

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert won == [1]


def test_of_many_workers_on_one_window_one_trains_it(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)
    barrier = threading.Barrier(6)
    outcomes: list[str] = []

    def work() -> None:
        barrier.wait()
        outcomes.append(train(settings, peer(settings), WINDOW).action)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count("committed") == 1
    assert set(outcomes) <= {"committed", "busy", "skipped", "idle"}
    assert column(connection, "SELECT count(*) FROM training.consumption") == [len(ids)]
    assert column(connection, "SELECT state FROM training.steps") == ["committed"]


def test_a_superseded_claimant_can_change_nothing(
    connection: Connection, settings: Settings
) -> None:
    old, step, ids = planned_step(connection, settings)
    running = steps.advance(connection, old, step, START, actor="test")
    expire(connection)
    new = lineages.claim(connection, "babylon", "two", 30)
    assert new is not None
    assert new.fencing_token == old.fencing_token + 1
    trained = msgspec.structs.replace(running, state=StepState.TRAINED)
    rewards = [(one, 0.5) for one in ids]
    before = connection.execute("SELECT s.* FROM training.steps s").fetchall()

    def commit() -> None:
        commit_step(connection, old, trained, RESULT, base_model="m", rewards=rewards, actor="test")

    for act in (
        lambda: lineages.renew(connection, old, 30),
        lambda: steps.advance(connection, old, running, RESTART, actor="test"),
        lambda: steps.advance(
            connection, old, running, POSTPONE, actor="test", columns={"error": "x", "delay": 0}
        ),
        lambda: verified(connection, old, running),
        lambda: fail_step(connection, old, running, "x", settings, actor="test"),
        lambda: steps.advance(connection, old, running, TAKE_OVER, actor="test"),
        commit,
    ):
        with pytest.raises(StaleLease):
            act()
    assert not lineages.release(connection, old)
    assert connection.execute("SELECT s.* FROM training.steps s").fetchall() == before
    lineage = lineages.get(connection, "babylon")
    assert lineage is not None
    assert (lineage.lease_owner, lineage.head_step) == ("two", 0)
    assert column(connection, "SELECT count(*) FROM training_batches") == [0]


@pytest.mark.parametrize("taken_over", [False, True])
def test_a_superseded_claimant_cannot_commit_even_a_verified_step(
    connection: Connection, settings: Settings, taken_over: bool
) -> None:
    old, step, ids = planned_step(connection, settings)
    running = steps.advance(connection, old, step, START, actor="test")
    trained = verified(connection, old, running)
    expire(connection)
    new = lineages.claim(connection, "babylon", "two", 30)
    assert new is not None

    def commit(lease: lineages.Lease, row: steps.Step) -> None:
        rewards = [(one, 0.5) for one in ids]
        commit_step(connection, lease, row, RESULT, base_model="m", rewards=rewards, actor="t")

    mine = (
        steps.advance(connection, new, trained, TAKE_OVER, actor="test") if taken_over else trained
    )
    with pytest.raises(StaleLease):
        commit(old, trained)
    assert column(connection, "SELECT state FROM training.steps") == ["trained"]
    if taken_over:
        commit(new, mine)
        assert column(connection, "SELECT state FROM training.steps") == ["committed"]


def test_a_worker_that_was_superseded_while_training_discards_its_work(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)

    def supersede() -> None:
        expire(connection)
        assert lineages.claim(connection, "babylon", "another", 30) is not None

    with pytest.raises(StaleLease):
        train(settings, peer(settings, during=supersede), WINDOW)

    assert column(connection, "SELECT state FROM training.steps") == ["running"]
    assert state(connection) == "training"


def test_a_worker_that_learns_it_is_superseded_kills_its_trainer(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(lease_seconds=2)
    scored_window(connection)
    trainer = peer(settings)
    gone = threading.Event()
    trainer.kill = lambda: (setattr(trainer, "killed", True), gone.set())[0]  # type: ignore[method-assign]

    def supersede() -> None:
        expire(connection)
        assert lineages.claim(connection, "babylon", "another", 60) is not None
        assert gone.wait(30), "the heartbeat never noticed"

    trainer.during = supersede
    with pytest.raises(StaleLease):
        train(settings, trainer, WINDOW)
    assert trainer.killed


def test_a_long_run_keeps_its_lease_and_stores_its_progress(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(lease_seconds=2)
    scored_window(connection)
    seen: list[object] = []

    def work_longer_than_the_lease() -> None:
        first = column(connection, "SELECT lease_until FROM training.lineages")
        for _ in range(600):
            now = column(connection, "SELECT lease_until FROM training.lineages")
            stored = column(connection, "SELECT (progress ->> 'total')::int FROM training.steps")
            if now != first and stored != [None]:
                seen.extend(stored)
                return
            threading.Event().wait(0.05)

    outcome = train(settings, peer(settings, during=work_longer_than_the_lease), WINDOW)

    assert outcome.action == "committed"
    assert seen == [1]


def test_the_progress_of_a_run_says_what_is_left_and_no_number_that_is_none(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(lease_seconds=2)
    scored_window(connection)
    stored: list[object] = []

    class Done(PeerTrainer):
        def train(self, request: TrainRequest, on_progress: OnProgress) -> StepResult:
            on_progress(RequestProgress(4, 4, tokens=20, loss=float("nan")))
            for _ in range(600):
                stored[:] = column(connection, "SELECT progress FROM training.steps")
                if stored != [None]:
                    break
                threading.Event().wait(0.05)
            return super().train(request, lambda _: None)

    assert train(settings, Done(settings.data_dir), WINDOW).action == "committed"

    done = {"done": 4, "total": 4, "tokens": 20, "loss": None, "counted": "gradient steps"}
    assert stored == [done | {"reward": 0.5, "seconds_left": 0.0}]


def test_a_trajectory_is_used_once_for_ever(connection: Connection, settings: Settings) -> None:
    lease, _, ids = planned_step(connection, settings)

    with pytest.raises(DatabaseError, match="already used"):
        consumption.consume(connection, lease, [Use(ids[0], 1, WINDOW, "no_spread")], step_id=None)


def test_a_plan_that_meets_a_used_trajectory_writes_nothing(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)
    lineages.ensure(connection, settings)
    lease = lineages.claim(connection, "babylon", "one", 30)
    assert lease is not None
    consumption.consume(connection, lease, [Use(ids[0], 1, WINDOW, "too_small")], step_id=None)

    with pytest.raises(DatabaseError, match="nothing was planned"):
        steps.plan(
            connection,
            lease,
            backend="cpu",
            windows={WINDOW: 1},
            manifest=b"{}",
            manifest_hash="hash",
            uses=[Use(one, 1, WINDOW, "trained") for one in ids],
            actor="test",
        )
    assert column(connection, "SELECT count(*) FROM training.steps") == [0]
    assert state(connection) == "scored"


def test_a_commit_is_whole_or_nothing(connection: Connection, settings: Settings) -> None:
    lease, step, ids = planned_step(connection, settings)
    running = steps.advance(connection, lease, step, START, actor="test")
    trained = verified(connection, lease, running)
    # Babylon's own table refuses at the very end of the transaction.
    connection.execute("ALTER TABLE trained_models ADD CHECK (status <> 'ready')")

    with pytest.raises(CheckViolation):
        commit_step(
            connection,
            lease,
            trained,
            RESULT,
            base_model="m",
            rewards=[(one, 0.5) for one in ids],
            actor="test",
        )
    assert column(connection, "SELECT state FROM training.steps") == ["trained"]
    assert column(connection, "SELECT step FROM training.checkpoints") == [0]
    assert column(connection, 'SELECT DISTINCT "usedInTraining" FROM trajectories') == [False]
    assert column(connection, "SELECT count(*) FROM training_batches") == [0]
    assert column(connection, "SELECT head_step FROM training.lineages") == [0]
    assert state(connection) == "training"


def test_one_step_may_be_unfinished_at_a_time(connection: Connection, settings: Settings) -> None:
    from psycopg.errors import UniqueViolation

    planned_step(connection, settings)
    row = connection.execute(
        "SELECT lineage, base_step, target_step, attempt, backend, windows, manifest_hash"
        " FROM training.steps"
    ).fetchone()
    assert row is not None
    names = ("lineage", "base_step", "target_step", "attempt", "backend", "windows")
    copy = dict(zip((*names, "manifest_hash"), row, strict=True)) | {"manifest": "{}"}

    with pytest.raises(UniqueViolation):
        insert(connection, "training.steps", [copy])


def test_which_step_begins_is_known_before_the_trainer_runs_it(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    trainer, begun = peer(settings), dict[str, Any]()
    clear_contextvars()

    def begin() -> None:
        begun.update(get_contextvars(), asked=len(trainer.requests))

    train_window(settings, trainer, window=None, actor="test", on_begin=begin)

    assert (begun["window"], begun["step"], begun["asked"]) == (WINDOW, 1, 0)
    clear_contextvars()
