"""W&B out of order: no window pays for it, training pauses, and goes on once W&B is back.

A real trainer process with ART's own client, and the whole of a training step around it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from factories import exact_call
from recorded import settings_at_wandb
from scored_windows import column, scored_window
from scoring_runs import MakeSettings
from training_steps import state
from wandb_peer import WandbPeer

from babylon_tasks.actions import TrainAction
from babylon_tasks.db import due_windows, reports
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.train_and_evaluate import train_and_evaluate
from babylon_tasks.settings import Settings
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract("today")
KEY = "word-of-wandb"
CALLS = [exact_call(model="babylon@0", policy_step=None, promptTokenIds=[1, 2, 3])]


@pytest.fixture(scope="module")
def service() -> Iterator[WandbPeer]:
    with WandbPeer(KEY) as peer:
        yield peer


@pytest.fixture(scope="module")
def trainer(service: WandbPeer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    """One that is not started yet."""
    folder = tmp_path_factory.mktemp("serverless")
    settings = settings_at_wandb(folder, service.url, KEY, lineage="babylon")
    with Trainer(settings) as made:
        yield made


@pytest.fixture
def peer(service: WandbPeer) -> WandbPeer:
    """W&B's servers, whole, which have trained nothing."""
    service.broken = None
    service.steps.clear()
    service.jobs.clear()
    return service


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """Two faults pause training; a window has one attempt, which no fault of W&B's may use up."""
    return make_settings(
        backend="serverless",
        base_model="OpenPipe/Qwen3-14B-Instruct",
        WANDB_API_KEY=KEY,
        max_attempts=1,
        retry_delay_seconds=0,
        circuit_faults=2,
    )


def train(settings: Settings, trainer: Trainer) -> tuple[TrainAction, str]:
    """What a worker's task comes to, and why."""

    def ignore(_: object) -> None:
        pass

    try:
        outcome, _ = train_and_evaluate(
            settings, trainer, window=None, actor="test", on_training=ignore, on_evaluation=ignore
        )
    except TrainingError as error:
        return TrainAction.FAILED, str(error)
    return outcome.action, str(outcome.reason)


def next_try(connection: Connection, when: str) -> None:
    connection.execute("UPDATE training.circuits SET next_try_at = now() + %s::interval", [when])


def assert_trained_once(connection: Connection, peer: WandbPeer) -> None:
    assert state(connection) == "trained"
    assert column(connection, "SELECT training_tries FROM training.windows") == [0]
    assert column(connection, "SELECT state FROM training.steps") == ["committed"]
    assert peer.steps == [1], "one checkpoint there, the step's"
    assert list(peer.jobs) == ["job-1"], "paid for once"
    assert reports.system_state(connection, "babylon").circuits == []


def test_a_trainer_that_cannot_reach_wandb_is_started_again_once_it_can(
    settings: Settings, trainer: Trainer, peer: WandbPeer, connection: Connection
) -> None:
    scored_window(connection, calls=CALLS)
    once = settings.model_copy(update={"circuit_faults": 1})
    with peer.away():
        action, why = train(once, trainer)
        assert action is TrainAction.FAILED
        assert "Connect" in why
        next_try(connection, "1 hour")
        assert train(once, trainer)[0] is TrainAction.PAUSED
        assert not trainer.serves
    [circuit] = reports.system_state(connection, "babylon").circuits
    assert (circuit.name, circuit.fault) == ("training babylon", "connection_lost")

    next_try(connection, "0")
    assert train(once, trainer)[0] is TrainAction.COMMITTED
    assert_trained_once(connection, peer)


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        ("/preview/", 503),
        ("/training-jobs", 429),
        ("/training-jobs", 402),
        ("/events", 500),
        ("/chat/", 429),
    ],
)
def test_windows_wait_for_wandb_and_lose_no_attempt(
    settings: Settings,
    trainer: Trainer,
    peer: WandbPeer,
    connection: Connection,
    broken: str,
    status: int,
) -> None:
    trainer.ready()
    scored_window(connection, calls=CALLS)
    peer.broken, peer.status = broken, status

    for _ in range(2):
        action, why = train(settings, trainer)
        assert action is TrainAction.FAILED
        assert str(status) in why
    next_try(connection, "1 hour")
    [circuit] = reports.system_state(connection, "babylon").circuits
    assert (circuit.name, circuit.fault) == ("training babylon", "service_refuses")
    assert circuit.paused
    peer.calls.clear()
    assert train(settings, trainer)[0] is TrainAction.PAUSED
    assert due_windows.pick_to_train(connection, settings, limit=10) == [], "beat sends nothing"
    assert peer.calls == [], "W&B is left alone"

    next_try(connection, "0")
    assert train(settings, trainer)[0] is TrainAction.FAILED, "a try; it is still out of order"

    peer.broken = None
    next_try(connection, "0")
    assert due_windows.pick_to_train(connection, settings, limit=10) != [], "beat sends it"
    begun = broken in ("/events", "/chat/")  # its job was under way, and is followed to its end
    wanted = TrainAction.ADOPTED if begun else TrainAction.COMMITTED
    assert train(settings, trainer)[0] is wanted
    assert_trained_once(connection, peer)
