"""The record beside a checkpoint's weights: an interrupted step outlives an upgrade by it."""

from __future__ import annotations

from pathlib import Path

from babylon_tasks.step_records import StepResult
from babylon_tasks.training.checkpoints import read_record, steps_on_disk, write_record

RESULT = StepResult(4, 3, 120, "new", "old", "uri", "babylon@4", "hash", {"loss": 0.5})


def test_a_folder_is_a_steps_if_its_name_is_a_number(tmp_path: Path) -> None:
    for name in ("0002", "0010", "²", "٣", "1.tmp", "9" * 20):
        (tmp_path / name).mkdir()
    (tmp_path / "0011").write_text("a file")
    assert steps_on_disk(tmp_path) == [2, 10]
    assert steps_on_disk(tmp_path / "0002" / "none") == []


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    write_record(tmp_path, RESULT)
    assert read_record(tmp_path) == RESULT


def test_a_record_of_the_last_release_is_read(tmp_path: Path) -> None:
    (tmp_path / "step.json").write_text(
        '{"type":"Trained","step":4,"gradient_steps":3,"trainable_tokens":120,'
        '"adapter_hash":"new","base_adapter_hash":"old","uri":"uri","inference_name":"babylon@4",'
        '"manifest_hash":"hash","metrics":{"loss":0.5},"job_reference":null}'
    )
    assert read_record(tmp_path) == RESULT
