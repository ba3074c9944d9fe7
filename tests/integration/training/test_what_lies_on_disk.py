"""A real trainer loads nothing that is not what it wrote, and does not share its folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from msgspec import structs
from recorded import many, train_request, trainer_settings, yes_pays

from babylon_tasks.errors import (
    AnotherTrainer,
    BackendUnavailable,
    CheckpointDamaged,
    TrainingError,
)
from babylon_tasks.settings import Settings
from babylon_tasks.training.checkpoints import (
    CONFIG,
    OPTIMIZER,
    WEIGHTS,
    hash_files,
    read_record,
    remove,
    write_record,
)
from babylon_tasks.training.protocol import CheckRequest
from babylon_tasks.training.supervisor import Trainer


class Disk:
    """A trainer that was started after its only step, which is put back before each test."""

    def __init__(self, settings: Settings, groups: Path) -> None:
        self.trainer = Trainer(settings)
        self.key = settings.inference_api_key.get_secret_value()
        self.step = self.trainer.train(train_request(groups, many(3)))
        self.folder = Path(self.step.uri)
        self.whole = groups / "whole"
        shutil.copytree(self.folder, self.whole)
        self.check()
        self.trainer.close()

    def restore(self) -> None:
        remove(self.folder)
        shutil.copytree(self.whole, self.folder)

    def check(self) -> dict[int, str]:
        """What of the step cannot be loaded."""
        return self.trainer.check(CheckRequest((self.step.as_committed(),), (1,))).damaged

    def described(self, step: int) -> httpx.Response:
        return httpx.get(
            f"{self.trainer.ready().base_url}/models/tests@{step}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60,
        )

    def asked(self, step: int) -> httpx.Response:
        return httpx.post(
            f"{self.trainer.ready().base_url}/chat/completions",
            headers={"Authorization": f"Bearer {self.key}"},
            json={
                "model": f"tests@{step}",
                "messages": [{"role": "user", "content": "Yes or no?"}],
                "max_tokens": 2,
            },
            timeout=60,
        )


@pytest.fixture(scope="module")
def _disk(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    settings = trainer_settings(
        tmp_path_factory.mktemp("disk") / "data",
        base_model=str(tiny_model),
        packed_sequence_length=64,
    )
    made = Disk(settings, tmp_path_factory.mktemp("groups"))
    yield made
    made.trainer.close()


@pytest.fixture
def disk(_disk: Disk) -> Iterator[Disk]:
    _disk.restore()
    yield _disk
    _disk.restore()
    while (newest := _disk.trainer.backend_step().step) > 1:
        _disk.trainer.discard(newest)


def flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_folder_of_another_history_is_refused_although_it_is_whole(
    disk: Disk, tmp_path: Path
) -> None:
    """The trainer that follows another knows what was committed, before anybody asks it."""
    flip(disk.folder / WEIGHTS)
    record = read_record(disk.folder)
    assert record is not None
    foreign = structs.replace(record, adapter_hash=None, files=hash_files(disk.folder))
    write_record(disk.folder, foreign)  # with a record of its own

    with pytest.raises(CheckpointDamaged, match="is not what was committed"):
        disk.trainer.train(train_request(tmp_path, [yes_pays()], base_step=1))


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
@pytest.mark.parametrize("how", [flip, halve, Path.unlink], ids=lambda how: how.__name__)
def test_a_damaged_checkpoint_neither_answers_nor_is_trained_from(
    disk: Disk, tmp_path: Path, how: Callable[[Path], None], name: str
) -> None:
    how(disk.folder / name)

    assert name in disk.check()[1]
    assert disk.trainer.backend_step().result is None, "nor is it adopted"
    with pytest.raises(TrainingError, match="checkpoint 1"):
        disk.trainer.train(train_request(tmp_path, [yes_pays()], base_step=1))
    answer = disk.asked(1)
    assert answer.status_code == (404 if (how, name) == (Path.unlink, WEIGHTS) else 503)
    described = disk.described(1)
    assert (described.status_code, described.json()) == (answer.status_code, answer.json())
    assert disk.asked(0).status_code == 200


@pytest.mark.parametrize("how", [flip, halve, Path.unlink], ids=lambda how: how.__name__)
def test_with_a_damaged_state_the_optimizer_starts_from_scratch(
    disk: Disk, tmp_path: Path, how: Callable[[Path], None]
) -> None:
    disk.check()
    before = disk.trainer.log_path.read_text().count("optimizer starts from scratch at step 1")
    how(disk.folder / OPTIMIZER)

    trained = disk.trainer.train(train_request(tmp_path, [yes_pays()], base_step=1))

    assert trained.step == 2
    after = disk.trainer.log_path.read_text().count("optimizer starts from scratch at step 1")
    assert after - before == (how is not Path.unlink)


def test_a_torn_record_stops_nothing_and_what_was_committed_is_still_compared(
    disk: Disk, tmp_path: Path
) -> None:
    halve(disk.folder / "step.json")

    assert disk.trainer.backend_step().step == 1
    assert disk.trainer.backend_step().result is None
    assert disk.check() == {}
    assert disk.asked(1).status_code == 200
    assert disk.trainer.train(train_request(tmp_path, [yes_pays()], base_step=1)).step == 2


def test_links_in_a_checkpoints_place_are_not_followed(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("kept")
    trash = disk.folder.parent / ".discarded-0002"
    for litter in (lambda: trash.write_text("a file"), lambda: shutil.copytree(disk.folder, trash)):
        litter()
        (disk.folder.parent / "0002").symlink_to(tmp_path / "precious")
        assert disk.trainer.backend_step().step == 2

        assert disk.trainer.discard(2).step == 1

        assert not trash.exists()
    assert (tmp_path / "precious" / "file").read_text() == "kept"


@pytest.mark.faults
def test_a_folder_that_was_made_anew_ends_its_former_trainer(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = trainer_settings(tmp_path / "data", base_model=str(tiny_model))
    with Trainer(settings) as first, Trainer(settings) as second:
        before = first.ready()
        with pytest.raises(AnotherTrainer):
            second.ready()
        shutil.rmtree(settings.data_dir)
        with pytest.raises(BackendUnavailable, match="was deleted or replaced"):
            first.backend_step()

        after = second.ready()

        assert after.folder_id != before.folder_id
        deadline = time.monotonic() + 60
        while first.pid is not None:
            assert time.monotonic() < deadline, "the former trainer still runs"
            time.sleep(0.05)
        assert second.backend_step().step == 0
