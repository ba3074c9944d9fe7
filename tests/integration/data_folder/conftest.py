"""A locked data folder and the trainer that works in it; each checkpoint is promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from peer import PeerTrainer
from promoted_checkpoints import LINEAGE
from scored_windows import scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings
from babylon_tasks.training.data_folder import FolderLock


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(min_eval_groups=1, retry_delay_seconds=0, lease_seconds=60)


@pytest.fixture(autouse=True)
def _held_out_window(connection: Connection) -> None:
    """On which all checkpoints are equally good."""
    scored_window(connection, "2026-01-30T00:00", state="held_out", model="anyone")


@pytest.fixture
def lock(settings: Settings) -> Iterator[FolderLock]:
    made = FolderLock(settings.data_dir, LINEAGE)
    yield made
    made.close()


@pytest.fixture
def trainer(settings: Settings, lock: FolderLock) -> PeerTrainer:
    return PeerTrainer(settings.data_dir, lock=lock)
