"""Rows whose log-probabilities are another policy's, from the database to a failed step."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import exact_call
from recorded import trainer_settings
from scored_windows import column, hour, scored_window

from babylon_tasks.db import reports, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.step_metrics import MISMATCH_KL, RATIO_MEAN
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract("today")


def test_they_fail_the_step_by_name_before_a_checkpoint_is_written(
    database_url: str, connection: Connection, tiny_model: Path, tmp_path: Path
) -> None:
    settings = trainer_settings(
        tmp_path / "data",
        base_model=str(tiny_model),
        DATABASE_URL=database_url,
        max_attempts=1,
        max_windows_per_step=1,
    )
    foreign, own = hour(1), hour(2)
    certain = exact_call("YES", logprobs=(-0.01,) * 3, model="tests@0")
    scored_window(connection, foreign, calls=[certain])
    scored_window(connection, own, model="tests@0")

    with Trainer(settings) as trainer:
        refused = train_window(settings, trainer, window=foreign, actor="test")
        assert refused.action == "failed"
        assert trainer.backend_step().step == 0
        sound = train_window(settings, trainer, window=own, actor="test")

    assert refused.reason is not None
    assert "importance ratios exploded over the whole step" in refused.reason
    row = windows.get(connection, foreign)
    assert row.state == "failed"
    assert "importance ratios exploded" in str(row.reason)
    [step] = reports.history(connection, foreign).steps
    assert (step.state, step.error) == ("failed", refused.reason)
    assert column(connection, "SELECT step FROM training.checkpoints WHERE step > 0") == [1]
    assert (sound.action, sound.step) == ("committed", 1)
    assert sound.result is not None
    assert sound.result.metrics[RATIO_MEAN] == pytest.approx(1, abs=0.2)
    [stored] = column(connection, "SELECT metrics FROM training.steps WHERE state = 'committed'")
    assert stored == sound.result.metrics
    assert 0 <= sound.result.metrics[MISMATCH_KL] < 0.1
    history = tmp_path / "data" / settings.project / "models" / "tests" / "history.jsonl"
    [line] = history.read_text().splitlines()
    assert MISMATCH_KL in line
