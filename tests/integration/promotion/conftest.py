"""Checkpoints of known values: step 1 is better than the base model, step 2 is worse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from peer import PeerTrainer

from babylon_tasks.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(min_eval_groups=3, promote_tolerance=0.01)


@pytest.fixture
def trainer(settings: Settings) -> PeerTrainer:
    return PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.7, 2: 0.4})
