"""A locked data folder and the trainer that works in it; each checkpoint is promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from peer import PeerTrainer
from promoted_checkpoints import LINEAGE

from babylon_tasks.settings import Settings
from babylon_tasks.training.data_folder import FolderLock


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(
        min_eval_groups=1, retry_delay_seconds=0, promote_without_evaluation=True, lease_seconds=60
    )


@pytest.fixture
def lock(settings: Settings) -> Iterator[FolderLock]:
    made = FolderLock(settings.data_dir, LINEAGE)
    yield made
    made.close()


@pytest.fixture
def trainer(settings: Settings, lock: FolderLock) -> PeerTrainer:
    return PeerTrainer(settings.data_dir, lock=lock)
