"""Which checks a worker has follows from its queues, whichever of a lineage's two those are."""

from __future__ import annotations

import pytest

from babylon_tasks.settings import Settings
from babylon_tasks.tasks.health.pool_children import PoolChildren
from babylon_tasks.tasks.health.readiness import WorkerReadiness

NOWHERE = "postgresql://nobody:no-word@127.0.0.1:1/none"


@pytest.mark.parametrize(
    ("queues", "trains"),
    [
        ({"cpu", "upkeep"}, False),
        ({"gpu", "gpu.babylon"}, True),
        ({"gpu.babylon"}, True),  # of a lineage that came after 0.1.0: nobody sends to `gpu`
        ({"gpu.other", "cpu"}, True),
    ],
)
def test_a_worker_with_a_queue_of_training_is_asked_for_its_trainer(
    queues: set[str], trains: bool
) -> None:
    settings = Settings(DATABASE_URL=NOWHERE, _env_file=None)
    worker = WorkerReadiness(settings, frozenset(queues), PoolChildren())

    assert len([*worker.checks()]) == 2 + trains
