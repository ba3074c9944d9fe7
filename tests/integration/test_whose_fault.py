"""What is not the window's own fault uses up none of its attempts, however often it happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from factories import WINDOW, fill_window
from outages import end_sessions, read_only
from peer import PeerTrainer
from scored_windows import column, scored_window
from scoring_runs import MakeSettings, count, one, run, seal
from training_steps import kinds, peer, state, train

from babylon_tasks.db.scoring import Claim
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import (
    DatabaseRefuses,
    DatabaseUnavailable,
    MigrationError,
    StaleLease,
    TrainerDied,
    TrainingError,
)
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline.release_claim import release_claim
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.sandbox.servers import free_port
from babylon_tasks.training.protocol import BackendStep, Inspected, InspectRequest, TrainRequest

pytestmark = pytest.mark.contract("today")  # it waits for leases, whatever the contract

AGAIN_AND_AGAIN = 5


# --- scoring


def test_a_server_that_ends_the_session_again_and_again_never_fails_the_window(
    make_settings: MakeSettings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection)
    settings = make_settings(read_batch=1, max_attempts=1, retry_delay_seconds=0)

    for _ in range(AGAIN_AND_AGAIN):
        with pytest.raises(DatabaseUnavailable, match="was lost"):
            score_window(
                settings, WINDOW, actor="test", on_progress=lambda *_: end_sessions(connection)
            )
        assert one(connection, "state, attempt") == ("sealed", 0)
    assert count(connection, "training.scores") == 0
    assert run(settings).state == "scored"


def test_a_claim_is_released_once_postgres_takes_writes_again(
    make_settings: MakeSettings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection)
    settings = make_settings(read_batch=1, max_attempts=1, retry_delay_seconds=0)

    def fail_over(*_: Any) -> None:
        read_only(connection, "on")
        end_sessions(connection)

    again = threading.Timer(1, lambda: read_only(connection, "off"))
    again.start()
    with pytest.raises(DatabaseUnavailable):
        score_window(settings, WINDOW, actor="test", on_progress=fail_over)
    again.join()

    assert one(connection, "state, attempt") == ("sealed", 0)


def test_a_worker_that_was_interrupted_does_not_wait_for_postgres(
    make_settings: MakeSettings,
) -> None:
    away = make_settings(
        DATABASE_URL=f"postgresql://babylon@127.0.0.1:{free_port()}/babylon", lease_seconds=3600
    )
    claim = Claim(WINDOW, "test/1", 1, 1, held_out=False, expected=None)
    ending = threading.Thread(
        target=release_claim,
        args=(away, claim, "interrupted by SystemExit", Fault.INTERRUPTED),
        kwargs={"actor": "test"},
        daemon=True,
    )
    ending.start()
    ending.join(30)  # it tries once; the bound ends a hanging test
    assert not ending.is_alive(), "a fault of Postgres would be waited for: an hour"


def test_a_server_that_takes_no_writes_is_named_as_such(
    make_settings: MakeSettings, connection: Connection
) -> None:
    read_only(connection, "on")

    def write() -> None:
        with session(make_settings()) as writing:
            writing.execute("DELETE FROM training.windows")

    with pytest.raises(DatabaseRefuses, match="read-only transaction") as refused:
        write()
    assert refused.value.fault is Fault.DATABASE_REFUSES


def test_a_worker_older_than_the_schema_fails_no_window(
    make_settings: MakeSettings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection)
    settings = make_settings(max_attempts=1, retry_delay_seconds=0)
    connection.execute("ALTER TABLE training.scores RENAME COLUMN group_key TO key")

    for _ in range(AGAIN_AND_AGAIN):
        with pytest.raises(MigrationError, match="group_key"):
            run(settings)
        assert one(connection, "state, attempt") == ("sealed", 0)

    connection.execute("ALTER TABLE training.scores RENAME COLUMN key TO group_key")
    assert run(settings).state == "scored"


def test_a_worker_that_is_stopped_does_not_use_up_an_attempt_of_the_window_it_scores(
    make_settings: MakeSettings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection)

    def stop(*_: Any) -> None:
        raise SystemExit

    settings = make_settings(max_attempts=1, retry_delay_seconds=0)
    with pytest.raises(SystemExit):
        score_window(settings, WINDOW, actor="test", on_progress=stop)
    assert one(connection, "state, attempt") == ("sealed", 0)


# --- training


def dies(fault: Fault) -> Callable[[], None]:
    def die() -> None:
        raise TrainerDied("the trainer was ended by signal SIGKILL", fault=fault)

    return die


def test_a_trainer_killed_from_outside_again_and_again_never_fails_the_window(
    connection: Connection, make_settings: MakeSettings
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_attempts=2)
    scored_window(connection)

    for _ in range(AGAIN_AND_AGAIN):
        outcome = train(settings, peer(settings, during=dies(Fault.TRAINER_KILLED)))
        assert (outcome.action, outcome.fault) == ("failed", Fault.TRAINER_KILLED)
        assert state(connection) in ("training", "scored"), "the step gives way to a smaller one"
        connection.execute("UPDATE training.windows SET next_attempt_at = now()")
    assert column(connection, "SELECT training_tries FROM training.windows") == [0]

    assert train(settings, peer(settings)).action == "committed"
    assert "failed" not in kinds(connection)


class Inspecting(PeerTrainer):
    def inspect(self, request: InspectRequest, _: Any) -> Inspected:
        raise TrainerDied(f"cannot read {request.groups_path}", fault=Fault.OUT_OF_MEMORY)


def test_a_trainer_that_cannot_inspect_leaves_the_window_as_it_is(
    connection: Connection, make_settings: MakeSettings
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_attempts=1)
    scored_window(connection)

    for _ in range(AGAIN_AND_AGAIN):
        with pytest.raises(TrainerDied):
            train(settings, Inspecting(settings.data_dir))
        assert train(settings, Inspecting(settings.data_dir)).action == "idle", "it waits"
        connection.execute("UPDATE training.windows SET next_attempt_at = now()")
    assert state(connection) == "scored"
    assert column(connection, "SELECT training_tries FROM training.windows") == [0]


def test_a_step_whose_parent_is_damaged_is_released_and_its_windows_wait(
    connection: Connection, make_settings: MakeSettings
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_attempts=1)
    scored_window(connection)

    class Damaged(PeerTrainer):
        def train(self, request: TrainRequest, _: Any) -> Any:
            raise TrainingError(f"cannot load {request.parent_step}", fault=Fault.FILE_DAMAGED)

    for _ in range(AGAIN_AND_AGAIN):
        assert train(settings, Damaged(settings.data_dir)).fault is Fault.FILE_DAMAGED
        assert state(connection) == "scored"
        assert column(connection, "SELECT training_tries FROM training.windows") == [0]
    assert train(settings, peer(settings)).action == "committed"


def test_a_data_folder_that_cannot_be_written_to_leaves_the_step_waiting(
    connection: Connection, make_settings: MakeSettings
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_attempts=1)
    scored_window(connection)
    folder = settings.data_dir / "babylon" / "steps"
    folder.parent.mkdir(parents=True)
    folder.write_text("a file in a folder's place: root cannot write into it either")

    for _ in range(AGAIN_AND_AGAIN):
        outcome = train(settings, peer(settings))
        assert "cannot write" in str(outcome.reason)
    folder.unlink()
    assert train(settings, peer(settings)).action == "committed"


def test_a_window_is_trained_as_often_as_it_may_be_and_no_more(
    connection: Connection, make_settings: MakeSettings
) -> None:
    """Its own fault: once refused, then broken off: three times in all, over two steps."""
    settings = make_settings(retry_delay_seconds=0, max_attempts=3)
    scored_window(connection)

    train(settings, peer(settings, falls="refuses"))
    runs = [train(settings, peer(settings, falls="before_writing")) for _ in range(3)]

    assert [outcome.action for outcome in runs] == ["failed"] * 3
    assert state(connection) == "failed"
    [reason] = column(connection, "SELECT reason FROM training.windows")
    assert str(reason).startswith("training failed 3 times, last: ")


def test_a_step_that_cannot_be_cleared_away_after_it_failed_waits_too(
    connection: Connection, make_settings: MakeSettings
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_attempts=1)
    scored_window(connection)

    class Unreadable(PeerTrainer):
        def backend_step(self) -> BackendStep:
            if self.requests:
                raise TrainingError("cannot list the checkpoints", fault=Fault.PERMISSION)
            return super().backend_step()

    outcome = train(settings, Unreadable(settings.data_dir, falls="refuses"))

    assert outcome.fault is Fault.PERMISSION
    assert "do not fit into memory; then: cannot list the checkpoints" in str(outcome.reason)
    assert column(connection, "SELECT state FROM training.steps") == ["running"]
    assert train(settings, peer(settings)).action == "committed"


def test_a_lost_lease_does_not_use_up_an_attempt(
    connection: Connection, make_settings: MakeSettings
) -> None:
    """Nobody could renew it while Postgres was away; no newer claimant has taken it."""
    settings = make_settings(retry_delay_seconds=0, max_attempts=1, lease_seconds=4)
    scored_window(connection)
    trainer = peer(settings)

    def starve() -> None:
        """Until the worker gives the lease up and kills the trainer."""
        with connection.transaction():
            connection.execute("LOCK TABLE training.lineages IN EXCLUSIVE MODE")
            deadline = time.monotonic() + 60
            while not trainer.killed:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    trainer.during = starve
    with pytest.raises(StaleLease):
        train(settings, trainer)

    assert column(connection, "SELECT tries FROM training.steps") == [0]
    assert train(settings, peer(settings)).action == "committed"
