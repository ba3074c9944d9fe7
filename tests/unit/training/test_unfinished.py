"""A checkpoint that ART never finished is set aside, and no other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from training_steps import RESULT

from babylon_tasks.training.checkpoints import CONFIG, SET_ASIDE, WEIGHTS, write_record
from babylon_tasks.training.unfinished import set_unfinished_aside, unfinished


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """The folder of the lineage's checkpoints."""
    return tmp_path / "checkpoints"


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
def test_what_was_cut_short_is_set_aside(
    checkpoints: Path, found: bytes | None, config: str
) -> None:
    checkpoint(checkpoints, 1, weights=weights())
    checkpoint(checkpoints, 2, weights=found, config=config)

    assert set_unfinished_aside(checkpoints) == 2
    assert [path.name for path in checkpoints.iterdir()] == ["0001"]
    [moved] = checkpoints.with_name(SET_ASIDE).iterdir()
    assert moved.name == "0002-unfinished-1"
    assert (moved / CONFIG).read_text() == config


def test_what_was_cut_short_again_is_kept_beside_the_first(checkpoints: Path) -> None:
    for _ in range(2):
        checkpoint(checkpoints, 1, weights=b"")
        assert set_unfinished_aside(checkpoints) == 1

    names = sorted(path.name for path in checkpoints.with_name(SET_ASIDE).iterdir())
    assert names == ["0001-unfinished-1", "0001-unfinished-2"]


def test_of_many_the_newest_three_are_kept(checkpoints: Path) -> None:
    for number in range(1, 6):
        made = checkpoint(checkpoints, number, weights=b"")
        os.utime(made, (number, number))
        set_unfinished_aside(checkpoints)

    aside = checkpoints.with_name(SET_ASIDE)
    (aside / "0001-row1-lease1").mkdir()  # a step's, which has a row
    names = [f"000{number}-unfinished-1" for number in (5, 4, 3)]
    assert unfinished(aside) == names
    assert len(list(aside.iterdir())) == 4


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, "step.json"])
def test_what_cannot_be_read_now_stays_where_it_is(checkpoints: Path, name: str) -> None:
    """A disk that fails says nothing about whether it was finished."""
    made = checkpoint(checkpoints, 1, weights=weights())
    (made / name).unlink(missing_ok=True)
    (made / name).mkdir()  # reading it is an OSError for root, too

    with pytest.raises(IsADirectoryError):
        set_unfinished_aside(checkpoints)

    assert made.is_dir()


def test_what_was_finished_stays(checkpoints: Path) -> None:
    checkpoint(checkpoints, 1, weights=weights(size=4))  # only the newest may be under way
    checkpoint(checkpoints, 2, weights=weights())

    assert set_unfinished_aside(checkpoints) is None
    assert len(list(checkpoints.iterdir())) == 2


def test_a_committed_checkpoint_stays_whatever_became_of_its_files(checkpoints: Path) -> None:
    write_record(checkpoint(checkpoints, 1, weights=weights(size=4)), RESULT)

    assert set_unfinished_aside(checkpoints) is None
    assert (checkpoints / "0001").is_dir()


def test_nothing_is_moved_where_there_is_nothing(checkpoints: Path) -> None:
    assert set_unfinished_aside(checkpoints) is None
