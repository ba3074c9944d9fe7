"""What training, scoring and planning add to the counters of the metrics endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from factories import EVER, WINDOW, fill_window, insert_trajectories, trajectory
from peer import PeerTrainer
from planned_steps import train
from prometheus_client import REGISTRY
from scored_windows import scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(retry_delay_seconds=0, lookback_hours=int(EVER), grace_seconds=0)


def counted() -> Counter[str]:
    """Counters and numbers of observations, by name and labels."""
    samples = (sample for metric in REGISTRY.collect() for sample in metric.samples)
    return Counter(
        {
            " ".join((one.name.removeprefix("babylon_"), *one.labels.values())): int(one.value)
            for one in samples
            if one.name.startswith("babylon_") and one.name.endswith(("_total", "_count"))
        }
    )


def test_a_committed_step_is_counted_with_what_it_learned(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    before = counted()

    result = train(settings).result

    assert result is not None
    assert counted() - before == {
        "step_runs_total babylon committed": 1,
        "step_duration_seconds_count babylon": 1,
        "gradient_steps_total babylon": result.gradient_steps,
        "trained_tokens_total babylon": result.trainable_tokens,
    }


@pytest.mark.parametrize(
    ("falls", "outcome"), [("refuses", "failed"), ("before_writing", "interrupted")]
)
def test_a_step_that_is_not_committed_is_counted_by_how_it_ended(
    connection: Connection, settings: Settings, falls: str, outcome: str
) -> None:
    scored_window(connection)
    before = counted()

    train(settings, PeerTrainer(settings.data_dir, falls=falls))

    assert counted() - before == {f"step_runs_total babylon {outcome}": 1}


def test_what_planning_refuses_is_counted_by_its_reason(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, model="another")
    before = counted()

    train(settings)

    assert counted() - before == {"trajectories_rejected_total other_policy": len(ids)}


def test_a_scored_window_is_counted_with_its_trajectories(
    connection: Connection, settings: Settings
) -> None:
    fill_window(connection, agents=3)
    insert_trajectories(connection, [trajectory(WINDOW, "broken", steps_json="[{")])
    connection.execute("""UPDATE trajectories SET "createdAt" = now() - interval '1 day'""")
    discover(settings, actor="test")
    before = counted()

    assert score_window(settings, WINDOW, actor="test").state == "scored"

    found = counted() - before
    (reason,) = [name for name in found if name.startswith("trajectories_rejected")]
    assert found == {"windows_scored_total scored": 1, "trajectories_scored_total": 3, reason: 1}
