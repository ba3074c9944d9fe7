"""``history.jsonl`` by ART's own ``model.log``: one line for each committed step."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from babylon_tasks.training.art_interface import make_model
from babylon_tasks.training.protocol import LoggedStep
from babylon_tasks.training.step_history import COMMITTED, StepHistory

STEPS = [LoggedStep(number, {"loss/train": number / 10, "data/x": 1.0}) for number in (1, 2, 3)]


@pytest.fixture(autouse=True)
def _no_price_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import art` must not ask the network for the prices of models."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project" / "models" / "tests"


def opened(folder: Path) -> StepHistory:
    """A history as a new process finds it."""
    model = make_model(
        "tests", project="project", entity=None, base_model="base", base_path=str(folder.parents[2])
    )
    return StepHistory(model)


def add(history: StepHistory, *steps: LoggedStep) -> list[int]:
    return [one.step for one in asyncio.run(history.add(steps))]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_each_step_has_one_line_with_its_figures(folder: Path) -> None:
    history = opened(folder)

    assert history.newest() == 0
    assert add(history, *STEPS[:2]) == [1, 2]
    assert add(history, *STEPS) == [3], "what has a line gets no other"

    found = lines(folder)
    assert [(line["step"], line["loss/train"]) for line in found] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert all(line["data/x"] == 1.0 for line in found)


def test_a_new_process_goes_on_where_the_last_one_ended(folder: Path) -> None:
    add(opened(folder), *STEPS[:2])

    again = opened(folder)

    assert again.newest() == 2
    assert add(again, *STEPS) == [3]


def test_a_line_that_was_cut_off_is_written_again(folder: Path) -> None:
    add(opened(folder), *STEPS)
    path = folder / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-20])

    again = opened(folder)

    assert again.newest() == 2
    assert add(again, *STEPS) == [3]
    assert [line[COMMITTED] for line in lines(folder)] == [1, 2, 3]


def test_arts_own_lines_are_no_committed_steps(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "history.jsonl").write_text('{"val/reward": 1, "step": 7}\nnot json\n[]\n')

    assert add(opened(folder), *STEPS[:1]) == [1]


def test_running_sums_that_were_cut_off_do_not_end_the_history(folder: Path) -> None:
    add(opened(folder), *STEPS[:1])
    (folder / "state.json").write_text('{"_metrics')

    assert add(opened(folder), *STEPS[:2]) == [2]


def test_a_line_that_cannot_be_written_is_written_later(folder: Path) -> None:
    history = opened(folder)
    add(history, *STEPS[:1])
    path = folder / "history.jsonl"
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()  # as good as a full disk

    with pytest.raises(OSError, match="directory"):
        add(history, *STEPS)
    path.rmdir()
    path.write_bytes(kept)

    assert add(history, *STEPS) == [2, 3]
    assert [line["step"] for line in lines(folder)] == [1, 2, 3]
