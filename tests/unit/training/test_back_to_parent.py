"""The parent's copy takes the number of a dead checkpoint, wherever a process ends in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from babylon_tasks.errors import TrainingError
from babylon_tasks.training import back_to_parent
from babylon_tasks.training.back_to_parent import end_begun, go_back
from babylon_tasks.training.checkpoints import SET_ASIDE, WEIGHTS, newest_step


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints 0 to 3."""
    folder = tmp_path / "checkpoints"
    for step in range(4):
        made = folder / f"{step:04d}"
        made.mkdir(parents=True)
        (made / WEIGHTS).write_text(f"weights of {step}")
        (made / "step.json").write_text(f"record of {step}")
    return folder


def contents(folder: Path) -> list[str]:
    return [(one / WEIGHTS).read_text()[-1] for one in sorted(folder.iterdir())]


def test_the_newest_is_set_aside_and_its_number_has_the_parents_weights(folder: Path) -> None:
    assert go_back(folder, 1, "0003-dead")

    assert contents(folder) == ["0", "1", "2", "1"]
    assert contents(folder.with_name(SET_ASIDE)) == ["3"]
    assert (folder / "0003/step.json").read_text() == "record of 3", "nobody takes it for its copy"
    assert not go_back(folder, 1, "0003-dead-again")
    assert contents(folder.with_name(SET_ASIDE)) == ["3"]


@pytest.mark.parametrize("act", ["copytree", "rename"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_it_is_ended_by_whoever_comes_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, act: str, after: bool
) -> None:
    class Killed(BaseException):
        pass

    def killed(do: Callable[..., object]) -> Callable[..., object]:
        def once(*arguments: object, **options: object) -> object:
            if after:
                do(*arguments, **options)
            raise Killed

        return once

    with monkeypatch.context() as patch:
        owner = shutil if act == "copytree" else Path
        patch.setattr(owner, act, killed(getattr(owner, act)))
        with pytest.raises(Killed):
            go_back(folder, 1, "0003-dead")
    end_begun(folder)
    assert newest_step(folder) == 3

    go_back(folder, 1, "0003-dead-again")

    assert contents(folder) == ["0", "1", "2", "1"]
    assert contents(folder.with_name(SET_ASIDE)) == ["3"]


def test_without_the_parents_weights_nothing_is_moved(folder: Path) -> None:
    (folder / "0001" / WEIGHTS).unlink()
    with pytest.raises(TrainingError, match="starts from 1, whose weights are not in"):
        go_back(folder, 1, "0003-dead")
    assert newest_step(folder) == 3
    assert back_to_parent.SET_ASIDE == SET_ASIDE
