"""Groups reach the trainer whole, or leave nothing on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from babylon_tasks.errors import TrainingError
from babylon_tasks.training.groups_file import passed_groups, read_groups, write_groups


def test_what_cannot_be_written_leaves_no_part_behind(tmp_path: Path) -> None:
    path = tmp_path / "step-1.json"
    path.mkdir()  # in the file's place: the last step of writing fails
    with pytest.raises(
        TrainingError, match=r"cannot write 0 groups for the trainer to .*, 13 bytes so far"
    ):
        write_groups(path, [])
    assert list(tmp_path.iterdir()) == [path]

    path.rmdir()
    write_groups(path, [])
    assert read_groups(path) == ()
    assert list(tmp_path.iterdir()) == [path]


def test_a_passed_file_is_gone_at_the_end_with_what_dead_workers_left(tmp_path: Path) -> None:
    path = tmp_path / "inspections" / "lease-7.json"
    with passed_groups(path, []):
        assert read_groups(path) == ()
    assert list(path.parent.iterdir()) == []

    (path.parent / "lease-6.json").write_text("of a worker that was killed")
    (path.parent / ".lease-6.json").write_text("half of it")
    seen: list[Path] = []

    def failing() -> None:
        with passed_groups(path, []):
            seen.extend(path.parent.iterdir())
            raise TrainingError("the trainer died")

    with pytest.raises(TrainingError, match="the trainer died"):
        failing()
    assert seen == [path]
    assert list(path.parent.iterdir()) == []
