"""Beat looks for old checkpoints of every lineage at work, whichever is its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import redis
from factories import insert
from one_moment import lineage

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.prune_checkpoints import with_old_checkpoints
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import KEY_PREFIX

pytestmark = pytest.mark.contract("today")


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(keep_checkpoints=2)


@pytest.fixture
def others(connection: Connection) -> None:
    """Two lineages with old checkpoints, one of which nobody works on; none of beat's own."""
    for name in ("other", "silent"):
        lineage(connection, name, head_step=5, serving_step=5)
        for step in range(6):
            row = {"lineage": name, "step": step, "uri": "here", "inference_name": "x"}
            insert(connection, "training.checkpoints", [row])
    connection.execute(
        "UPDATE training.lineages SET updated_at = now() - interval '8 days' WHERE name = 'silent'"
    )


@pytest.mark.usefixtures("others")
def test_old_checkpoints_are_found_of_each_lineage_at_work(settings: Settings) -> None:
    assert with_old_checkpoints(settings) == ["other"]
    kept = settings.model_copy(update={"keep_checkpoints": 5})
    assert with_old_checkpoints(kept) == []


@pytest.mark.usefixtures("others")
def test_beat_wakes_the_worker_of_each_lineage_with_old_checkpoints(
    settings: Settings, redis_url: str
) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": redis_url,
        "BABYLON_KEEP_CHECKPOINTS": "2",
    }
    run = "from babylon_tasks.tasks.upkeep import prune; print(prune.run()['summary'])"
    done = subprocess.run(
        [sys.executable, "-c", run],
        env=environment,
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )

    assert "old checkpoints of other left to the trainer's worker" in done.stdout
    with redis.Redis.from_url(redis_url) as client:
        lengths = {
            name: client.llen(f"{KEY_PREFIX}gpu{name}") for name in ("", ".other", ".silent")
        }
    assert lengths == {"": 0, ".other": 1, ".silent": 0}
