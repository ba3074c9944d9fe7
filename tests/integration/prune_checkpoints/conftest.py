"""A trainer with its locked data folder, of which the newest two checkpoints are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from peer import PeerTrainer
from pruned_checkpoints import LINEAGE

from babylon_tasks.pipeline.prune_checkpoints import prune_checkpoints
from babylon_tasks.pipeline.results import PrunedCheckpoints
from babylon_tasks.settings import Settings
from babylon_tasks.training.data_folder import FolderLock


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(min_eval_groups=1, retry_delay_seconds=0, keep_checkpoints=2)


@pytest.fixture
def trainer(settings: Settings) -> Iterator[PeerTrainer]:
    lock = FolderLock(settings.data_dir, LINEAGE)
    yield PeerTrainer(settings.data_dir, lock=lock)
    lock.close()


@pytest.fixture
def prune(settings: Settings, trainer: PeerTrainer) -> Callable[..., PrunedCheckpoints]:
    def call(**changed: object) -> PrunedCheckpoints:
        dry_run = bool(changed.pop("dry_run", False))
        chosen = settings.model_copy(update=changed)
        return prune_checkpoints(chosen, lambda: trainer, actor="test", dry_run=dry_run)

    return call
