"""A lineage with one candidate, and two held-out hours of questions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from evaluated_checkpoints import trained
from peer import PeerTrainer
from screened import HOURS, questions

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(screen_questions=50, min_screen_questions=40)


@pytest.fixture
def trainer(settings: Settings) -> PeerTrainer:
    return PeerTrainer(settings.data_dir)


@pytest.fixture
def candidate(connection: Connection, settings: Settings, trainer: PeerTrainer) -> int:
    """Checkpoint 1, while step 0 serves."""
    questions(connection, *HOURS[:2])
    trained(connection, settings, trainer, 1)
    return 1
