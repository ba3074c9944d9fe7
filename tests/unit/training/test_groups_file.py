"""Groups reach the trainer whole, or leave nothing on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from babylon_tasks.errors import TrainingError
from babylon_tasks.training.groups_file import read_groups, write_groups


def test_what_cannot_be_written_leaves_no_part_behind(tmp_path: Path) -> None:
    path = tmp_path / "step-1.json"
    path.mkdir()  # in the file's place: the last step of writing fails
    with pytest.raises(TrainingError, match="cannot write 13 bytes for the trainer"):
        write_groups(path, [])
    assert list(tmp_path.iterdir()) == [path]

    path.rmdir()
    write_groups(path, [])
    assert read_groups(path) == ()
    assert list(tmp_path.iterdir()) == [path]
