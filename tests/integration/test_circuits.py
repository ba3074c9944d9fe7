"""After repeated faults of one kind scoring or training pauses, says so, and goes on by itself."""

from __future__ import annotations

from typing import Any

import pytest
from factories import WINDOW, fill_window
from peer import PeerTrainer
from scored_windows import column, hour, scored_window
from scoring_runs import MakeSettings, run, seal
from structlog.testing import capture_logs
from training_steps import peer, state, work

from babylon_tasks.cli.checks import postgres
from babylon_tasks.db import circuits, due_windows, gauges
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import MigrationError, TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline.circuit import count_fault
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.health.pool_children import PoolChildren
from babylon_tasks.tasks.health.readiness import WorkerReadiness
from babylon_tasks.training.protocol import TrainRequest

pytestmark = pytest.mark.contract("today")
TRAINING = circuits.training("babylon")


class FullDisk(PeerTrainer):
    """No step fits into its data folder; ``of`` is what it says of that."""

    of = Fault.DISK_FULL

    def train(self, request: TrainRequest, _: Any) -> Any:
        raise TrainingError(f"no room for step {request.base_step + 1}", fault=self.of)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=1, circuit_faults=3)


@pytest.fixture
def patient(make_settings: MakeSettings) -> Settings:
    """As it pauses in operation."""
    return make_settings(retry_delay_seconds=40, circuit_max_seconds=100, circuit_faults=3)


def let_it_wait(connection: Connection) -> None:
    """As when a fault was the third: nothing is due for an hour."""
    connection.execute("UPDATE training.circuits SET next_try_at = now() + interval '1 hour'")


def let_it_be_due(connection: Connection) -> None:
    connection.execute("UPDATE training.circuits SET next_try_at = now()")


def test_training_pauses_after_three_faults_of_one_kind_and_says_so_once(
    settings: Settings, connection: Connection
) -> None:
    scored_window(connection)

    with capture_logs() as logged:
        for _ in range(2):
            assert work(settings, FullDisk(settings.data_dir)).action == "failed"
        assert circuits.opened(connection) == []
        for _ in range(3):
            assert work(settings, FullDisk(settings.data_dir)).action == "failed"
        let_it_wait(connection)
        trainer = peer(settings)
        paused = [work(settings, trainer) for _ in range(3)]

    assert [line["event"] for line in logged].count("circuit.opened") == 1
    assert [outcome.action for outcome in paused] == ["paused"] * 3
    assert "training babylon is paused after 5 faults in a row (disk_full)" in str(paused[0].reason)
    assert trainer.requests == []
    assert state(connection) == "training"  # its step waits, planned
    assert column(connection, "SELECT training_tries FROM training.windows") == [0]


def test_it_tries_again_by_itself_once_and_success_closes_it(
    settings: Settings, patient: Settings, connection: Connection
) -> None:
    scored_window(connection)
    for _ in range(3):
        work(settings, FullDisk(settings.data_dir))
    let_it_be_due(connection)

    assert circuits.take_try(connection, TRAINING, patient)
    assert not circuits.take_try(connection, TRAINING, patient), "one worker tries, not all"
    assert work(settings, peer(settings)).action == "paused"

    let_it_be_due(connection)
    with capture_logs() as logged:
        assert work(settings, peer(settings)).action == "committed"
    assert "circuit.closed" in [line["event"] for line in logged]
    assert circuits.opened(connection) == []


def test_each_failed_try_doubles_the_wait_up_to_the_longest(
    patient: Settings, connection: Connection
) -> None:
    waits: list[object] = []
    for _ in range(6):
        circuits.count_fault(connection, TRAINING, Fault.DISK_FULL, "full", patient)
        waits += column(
            connection,
            "SELECT extract(epoch FROM next_try_at - updated_at)::int FROM training.circuits"
            " WHERE opened_at IS NOT NULL",
        )
    assert waits == [40, 80, 100, 100]


def test_a_fault_of_another_kind_makes_an_open_circuit_wait_no_less(
    patient: Settings, connection: Connection
) -> None:
    for fault in (*[Fault.DISK_FULL] * 4, Fault.NO_GPU):
        circuits.count_fault(connection, TRAINING, fault, "no room, then no GPU", patient)

    waits = "SELECT extract(epoch FROM next_try_at - updated_at)::int FROM training.circuits"
    assert column(connection, waits) == [100]
    (circuit,) = circuits.opened(connection)
    assert (circuit.fault, circuit.faults) == (Fault.NO_GPU, 5)


@pytest.mark.parametrize("between", ["success", "another kind", "the window's own"])
def test_only_faults_of_one_kind_in_a_row_count(
    settings: Settings, connection: Connection, between: str
) -> None:
    count = circuits.count_fault
    for _ in range(2):
        count(connection, TRAINING, Fault.DISK_FULL, "full", settings)
    scored_window(connection)
    if between == "success":
        work(settings, peer(settings))
    elif between == "another kind":
        count(connection, TRAINING, Fault.NO_GPU, "no GPU", settings)
    else:
        work(settings, peer(settings, falls="refuses"))

    opened = count(connection, TRAINING, Fault.DISK_FULL, "full", settings)

    assert opened is (between == "the window's own")


@pytest.mark.parametrize("ordinary", [Fault.WINDOW, Fault.LEASE_LOST, Fault.INTERRUPTED])
def test_what_another_worker_goes_on_with_is_no_sign_of_trouble(
    settings: Settings, connection: Connection, ordinary: Fault
) -> None:
    for _ in range(5):
        count_fault(settings, TRAINING, ordinary, "a worker was replaced")

    assert column(connection, "SELECT name FROM training.circuits") == []


def test_faults_of_a_window_itself_never_pause_anything(
    settings: Settings, connection: Connection
) -> None:
    for number in range(5):
        scored_window(connection, hour(number))
        work(settings, peer(settings, falls="refuses"))
    assert column(connection, "SELECT name FROM training.circuits") == []
    assert state(connection, hour(0)) == "failed"


def test_scoring_pauses_too_and_no_message_is_sent_meanwhile(
    settings: Settings, connection: Connection
) -> None:
    fill_window(connection)
    seal(connection)
    connection.execute("ALTER TABLE training.scores RENAME COLUMN group_key TO key")
    for _ in range(3):
        with pytest.raises(MigrationError):
            run(settings)
    let_it_wait(connection)

    paused = run(settings)

    assert (paused.claimed, paused.state) == (False, "sealed")
    assert "scoring is paused after 3 faults in a row (schema)" in str(paused.reason)
    assert due_windows.pick_to_score(connection, settings, limit=10) == []
    connection.execute("ALTER TABLE training.scores RENAME COLUMN key TO group_key")
    let_it_be_due(connection)
    assert due_windows.pick_to_score(connection, settings, limit=10) == [WINDOW]
    assert run(settings).state == "scored"
    assert circuits.opened(connection) == []


def test_no_training_message_is_sent_while_training_pauses(
    settings: Settings, connection: Connection
) -> None:
    scored_window(connection)
    for _ in range(3):
        circuits.count_fault(connection, TRAINING, Fault.NO_GPU, "no GPU", settings)
    let_it_wait(connection)
    assert due_windows.pick_to_train(connection, settings, limit=10) == []
    let_it_be_due(connection)
    assert due_windows.pick_to_train(connection, settings, limit=10) == [WINDOW]


def test_doctor_and_metrics_show_an_open_circuit(
    settings: Settings, connection: Connection
) -> None:
    def shown() -> tuple[list[str], dict[str, bool]]:
        found = [one.detail for one in postgres(settings) if one.check == "circuit"]
        return found, gauges.read(connection, "babylon", 90).circuits

    assert shown() == ([], {"scoring": False, TRAINING: False})
    for _ in range(3):
        circuits.count_fault(connection, TRAINING, Fault.DISK_FULL, "no room", settings)
    [detail], figures = shown()
    assert "training babylon has been paused since" in detail
    assert "(disk_full): no room" in detail
    assert figures == {"scoring": False, TRAINING: True}


@pytest.mark.parametrize("queue", ["gpu", "gpu.babylon"])
def test_a_worker_of_either_queue_of_training_is_not_ready_while_training_pauses(
    connection: Connection, patient: Settings, queue: str
) -> None:
    for _ in range(3):
        circuits.count_fault(connection, TRAINING, Fault.DISK_FULL, "full", patient)

    worker = WorkerReadiness(patient, frozenset({queue}), PoolChildren())
    _, database, _ = worker.checks()

    assert "training babylon is paused after 3 faults in a row" in str(database.answer())
