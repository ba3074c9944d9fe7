"""The real trainer's checkpoints lie where pruning looks for them."""

from __future__ import annotations

from collections.abc import Callable

from recorded import NO, YES, call, group

from babylon_tasks.settings import Settings
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.data_folder import folder_id
from babylon_tasks.training.old_files import DataFolder

GROUPS = [group([(call(YES, logprobs=(-0.7, -0.1)), 0.9), (call(NO), 0.1)])]


def test_a_pruned_checkpoint_of_the_real_trainer_is_found_and_its_optimizer_too(
    train: Callable[..., StepResult], worker_settings: Settings
) -> None:
    data_dir, lineage = worker_settings.data_dir, worker_settings.lineage
    step = train(GROUPS).step

    folder = DataFolder(data_dir, worker_settings.project, lineage, folder_id(data_dir, lineage))

    assert folder.find([step], [], []).checkpoints == [step]
    assert folder.find([], [step], []).optimizers == [step]
    assert folder.find([step], [], []).size > folder.find([], [step], []).size > 0
