"""From which checkpoint a step is trained again, and what is trained before it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

from babylon_tasks.dataset.manifest import Manifest, TrainingConfig
from babylon_tasks.db.kept_members import CommittedStep
from babylon_tasks.db.steps import Step
from babylon_tasks.pipeline.kept_step import KeptState, KeptStep
from babylon_tasks.pipeline.train_again import NotTrainedAgain, choose_start
from babylon_tasks.states import StepState
from babylon_tasks.step_records import CommittedCheckpoint, SupervisedConfig
from babylon_tasks.training.checkpoints import CONFIG, OPTIMIZER, WEIGHTS, hash_files
from babylon_tasks.training.replay_folder import ReplayFolder

PARENTS = {1: 0, 2: 1, 3: 2, 4: 2, 5: 4}  # 3 was held
WHOLE = [1, 2, 3, 4, 5]


def kept(number: int, state: KeptState = KeptState.WHOLE) -> KeptStep:
    config = TrainingConfig(1e-2, 0.0, 0, 128, 1e-6, 16, 8)
    manifest = Manifest(
        "babylon", "m", number - 1, PARENTS[number], 0, "0.2", "default", "exact", config, ()
    )
    step = Step(
        number, "babylon", number - 1, number, StepState.COMMITTED, 1, 1, [], "h", {}, None, True
    )
    about = CommittedStep("cpu", datetime(2026, 1, 1, tzinfo=UTC), None, "h")
    return KeptStep(step, about, manifest, state, {}, [], 0)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[ReplayFolder]:
    """Five checkpoints; the optimizer's state is left of the last one only."""
    place = tmp_path / "babylon" / "models" / "babylon" / "checkpoints"
    committed = []
    for number in WHOLE:
        at = place / f"{number:04d}"
        at.mkdir(parents=True)
        for name in (WEIGHTS, CONFIG, OPTIMIZER):
            (at / name).write_text(f"{name} of {number}")
        committed.append(CommittedCheckpoint(number, None, hash_files(at)))
        if number < 5:
            (at / OPTIMIZER).unlink()
    with ReplayFolder(tmp_path, "babylon", "babylon", committed) as made:
        yield made


@pytest.mark.parametrize(
    ("number", "back", "checkpoint", "steps", "new_optimizer"),
    [
        (1, 0, 0, [1], False),
        (2, 10, 0, [1, 2], False),
        (5, 10, 0, [1, 2, 4, 5], False),
        (5, 3, 0, [1, 2, 4, 5], False),
        (5, 2, 4, [5], True),  # not as far as that
        (5, 0, 4, [5], True),
    ],
)
def test_it_starts_where_the_optimizers_state_is_and_goes_the_way_of_the_tree(
    folder: ReplayFolder,
    number: int,
    back: int,
    checkpoint: int,
    steps: list[int],
    new_optimizer: bool,
) -> None:
    start = choose_start(folder, kept(number), kept, PARENTS, back)

    assert not isinstance(start, NotTrainedAgain)
    found = [one.step.target_step for one in start.steps]
    assert (start.checkpoint, found, start.new_optimizer) == (checkpoint, steps, new_optimizer)


def test_a_supervised_step_needs_no_optimizers_state(folder: ReplayFolder) -> None:
    supervised = SupervisedConfig(1, 4, 5, top_share=0.25)
    step = kept(5)
    step = structs.replace(step, manifest=structs.replace(step.manifest, supervised=supervised))

    start = choose_start(folder, step, kept, PARENTS, 10)

    assert not isinstance(start, NotTrainedAgain)
    assert (start.checkpoint, len(start.steps), start.new_optimizer) == (4, 1, False)


def test_a_step_before_it_that_is_pruned_ends_the_way(folder: ReplayFolder) -> None:
    def read(number: int) -> KeptStep:
        return kept(number, KeptState.PRUNED if number == 1 else KeptState.WHOLE)

    start = choose_start(folder, kept(5), read, PARENTS, 10)

    assert not isinstance(start, NotTrainedAgain)
    assert (start.checkpoint, len(start.steps), start.new_optimizer) == (4, 1, True)


def test_a_parent_without_weights_is_made_again_or_missed(folder: ReplayFolder) -> None:
    del folder.committed[4]  # pruned

    start = choose_start(folder, kept(5), kept, PARENTS, 10)
    assert not isinstance(start, NotTrainedAgain)
    assert start.checkpoint == 0

    missed = choose_start(folder, kept(5), kept, PARENTS, 0)
    assert isinstance(missed, NotTrainedAgain)
    assert missed.why == ("the weights that it started from are not here: checkpoint 4 is pruned")
