"""What a GPU worker does every few seconds about its trainer while it is idle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from by_hand import promote_head
from endpoint import until
from promoted_checkpoints import LINEAGE, lineage, train
from recorded import groups_file, yes_pays
from scored_windows import column, hour, scored_window

from babylon_tasks.db import promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainingError
from babylon_tasks.settings import Settings, load_settings
from babylon_tasks.tasks import trainer_manager
from babylon_tasks.tasks.health.inference import lacks_model
from babylon_tasks.tasks.trainer_manager import TrainerManager
from babylon_tasks.training import child_log
from babylon_tasks.training.checkpoints import WEIGHTS
from babylon_tasks.training.protocol import EvaluateRequest
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract("today")


@pytest.fixture
def settings(
    database_url: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Those of the process, as a worker reads them."""
    for name, value in {
        "DATABASE_URL": database_url,
        "BABYLON_BACKEND": "cpu",
        "BABYLON_BASE_MODEL": str(tiny_model),
        "BABYLON_DATA_DIR": str(tmp_path / "data"),
        "BABYLON_INFERENCE_PORT": "0",
        "BABYLON_PACKED_SEQUENCE_LENGTH": "128",
        "BABYLON_TORCH_DEVICE": "cpu",
    }.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    yield load_settings()
    load_settings.cache_clear()


@pytest.fixture
def manager(settings: Settings) -> Iterator[TrainerManager]:
    """Its threads are not started: the test looks in their place."""
    del settings
    made = TrainerManager()
    yield made
    made.close()


def unanswered(connection: Connection, settings: Settings, trainer: Trainer) -> str | None:
    assert trainer.port is not None
    return lacks_model(settings, trainer.port, promotions.serving(connection, LINEAGE))


def test_what_serves_gives_way_when_its_files_are_damaged_though_nothing_is_trained(
    connection: Connection, settings: Settings, manager: TrainerManager
) -> None:
    manager.look()
    with manager.lock() as trainer:
        for number in (1, 2):
            scored_window(connection, hour(number), model=f"{LINEAGE}@{number - 1}")
            assert train(settings, trainer, number).step == number  # type: ignore[arg-type]
            assert promote_head(connection, LINEAGE) == number
        started = trainer.pid
        folder = Path(
            str(column(connection, "SELECT uri FROM training.checkpoints WHERE step = 1")[0])
        ).parent
    manager.look()
    assert lineage(connection).serving_step == 2, "nothing is wrong"

    for damaged, then in ((2, 1), (1, 0)):
        weights = folder / f"{damaged:04d}" / WEIGHTS
        weights.unlink() if damaged == 2 else weights.write_bytes(weights.read_bytes()[:-1])
        assert unanswered(connection, settings, trainer) is not None

        manager.look()

        assert unanswered(connection, settings, trainer) is None
        newest = "SELECT decision, from_step, to_step FROM training.promotions ORDER BY id DESC"
        assert connection.execute(newest).fetchone() == ("rollback", damaged, then)
    assert trainer.pid == started, "agents have not lost the others meanwhile"
    assert "checkpoint 1 cannot be loaded" in str(lineage(connection).trouble)


def test_the_log_of_a_trainer_is_bounded_at_its_start_and_while_it_runs(
    connection: Connection,
    settings: Settings,
    manager: TrainerManager,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del connection
    monkeypatch.setattr(child_log, "LOG_BYTES", 100_000)
    monkeypatch.setattr(trainer_manager, "_WATCH_SECONDS", 0.05)
    log = settings.data_dir / "trainer.log"
    older = log.with_name("trainer.log.1")
    log.parent.mkdir()
    log.write_bytes(b"a" * 100_000)

    manager.look()
    assert older.read_bytes() == b"a" * 100_000
    assert "computing on" in log.read_text()

    with log.open("ab") as as_its_trainer_does:
        as_its_trainer_does.write(b"b" * 100_000)
    bounding = threading.Thread(target=manager.bound_log)
    bounding.start()
    until(lambda: not log.stat().st_size)
    request = EvaluateRequest(steps=(9,), groups_path=groups_file(tmp_path, [yes_pays()]))
    with manager.lock() as trainer, pytest.raises(TrainingError):
        trainer.evaluate(request)
    manager.close()
    bounding.join(60)

    assert not bounding.is_alive()
    assert older.read_text().endswith("b" * 100_000)
    assert log.read_text().startswith("Traceback")


def test_a_trainer_that_could_not_be_told_what_serves_is_told_later(
    connection: Connection, manager: TrainerManager
) -> None:
    """Postgres refuses in the middle: the trainer runs, and agents have no address."""
    none_yet = "ADD CONSTRAINT none_yet CHECK (inference_base_url IS NULL)"
    connection.execute(f"ALTER TABLE training.lineages {none_yet}")
    manager.look()
    connection.execute("ALTER TABLE training.lineages DROP CONSTRAINT none_yet")
    with manager.lock() as trainer:
        started = trainer.pid
    assert started is not None

    manager.look()

    assert trainer.pid == started
    assert promotions.serving(connection, LINEAGE).base_url is not None
