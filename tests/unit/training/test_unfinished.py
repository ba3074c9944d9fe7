"""A checkpoint that ART never finished is removed, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_steps import RESULT

from babylon_tasks.training.checkpoints import CONFIG, WEIGHTS, write_record
from babylon_tasks.training.unfinished import remove_unfinished


def checkpoint(folder: Path, step: int, *, weights: bytes | None, config: str = "{}") -> Path:
    made = folder / f"{step:04d}"
    made.mkdir(parents=True)
    (made / CONFIG).write_text(config)
    if weights is not None:
        (made / WEIGHTS).write_bytes(weights)
    return made


def weights(*, size: int = 8) -> bytes:
    """A safetensors file of eight bytes of weights, cut short or not."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


@pytest.mark.parametrize(
    ("found", "config"),
    [
        (None, "{}"),
        (b"", "{}"),
        (b"\xff" * 8, "{}"),
        (weights(size=4), "{}"),
        (weights()[:12], "{}"),
        (weights(), '{"r": '),
    ],
    ids=["no weights", "empty", "no header", "half the weights", "half a header", "half a config"],
)
def test_what_was_cut_short_is_removed(tmp_path: Path, found: bytes | None, config: str) -> None:
    checkpoint(tmp_path, 1, weights=weights())
    checkpoint(tmp_path, 2, weights=found, config=config)

    assert remove_unfinished(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["0001"]


def test_what_was_finished_stays(tmp_path: Path) -> None:
    checkpoint(tmp_path, 1, weights=weights(size=4))  # only the newest may be under way
    checkpoint(tmp_path, 2, weights=weights())

    assert remove_unfinished(tmp_path) is None
    assert len(list(tmp_path.iterdir())) == 2


def test_a_committed_checkpoint_stays_whatever_became_of_its_files(tmp_path: Path) -> None:
    write_record(checkpoint(tmp_path, 1, weights=weights(size=4)), RESULT)

    assert remove_unfinished(tmp_path) is None
    assert (tmp_path / "0001").is_dir()


def test_nothing_is_removed_where_there_is_nothing(tmp_path: Path) -> None:
    assert remove_unfinished(tmp_path) is None
