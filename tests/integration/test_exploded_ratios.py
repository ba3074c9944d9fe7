"""A step whose importance ratios exploded, found at its verification, where ART reports ratios."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from factories import WINDOW
from scored_windows import column, scored_window
from training_steps import peer, state, train

from babylon_tasks.db import reports, set_aside
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings
from babylon_tasks.step_metrics import RATIO_MEAN

pytestmark = pytest.mark.contract("today")


def test_it_fails_by_name_its_checkpoint_is_set_aside_and_its_data_are_free(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    settings = make_settings(retry_delay_seconds=0)
    scored_window(connection)
    trainer = peer(settings, measured={RATIO_MEAN: 40.0})

    outcome = train(settings, trainer)

    assert outcome.action == "failed"
    assert outcome.reason is not None
    assert "not verified: the importance ratios exploded" in outcome.reason
    assert "BABYLON_MAX_MISMATCH_KL=3;" in outcome.reason
    assert state(connection) == "scored"
    assert column(connection, "SELECT count(*) FROM training.consumption") == [0]
    history = reports.history(connection, WINDOW)
    assert [step.error for step in history.steps] == [outcome.reason]
    assert history.steps[0].metrics == {RATIO_MEAN: 40.0}
    [aside] = set_aside.kept(connection, settings.lineage)
    assert aside.step == 1
    assert trainer.logged == []
    kept = Path(settings.data_dir) / "babylon" / "models" / "babylon" / "set-aside"
    assert [folder.name for folder in kept.iterdir()] == [aside.folder]


def test_without_a_bound_it_counts(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    settings = make_settings(max_mismatch_kl=0)
    scored_window(connection)

    outcome = train(settings, peer(settings, measured={RATIO_MEAN: 40.0}))

    assert outcome.action == "committed"
