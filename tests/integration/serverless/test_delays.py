"""W&B takes longer than a trainer may be silent: nothing is paid for twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from factories import WINDOW, exact_call
from recorded import trainer_settings
from scored_windows import column, scored_window
from scoring_runs import MakeSettings
from wandb_peer import WandbPeer

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract("today")


@pytest.fixture
def impatient(service: WandbPeer, tmp_path: Path) -> Iterator[Trainer]:
    """A trainer that may be silent for five seconds."""
    settings = trainer_settings(
        tmp_path,
        backend="serverless",
        base_model="OpenPipe/Qwen3-14B-Instruct",
        WANDB_API_KEY=service.key,
        wandb_base_url=service.url,
        trainer_silence_timeout_seconds=5,
    )
    with Trainer(settings) as started:
        yield started


@pytest.mark.parametrize("late", ["the answer to the request for it", "its end"])
def test_a_job_that_takes_longer_is_followed_once_it_has_ended(
    connection: Connection,
    make_settings: MakeSettings,
    impatient: Trainer,
    remote: Trainer,
    peer: WandbPeer,
    late: str,
) -> None:
    settings = make_settings(retry_delay_seconds=0, max_attempts=9)
    peer.steps, peer.holds = [], True
    peer.answers = ["late"] if late != "its end" else []
    peer.measured = {"num_trainable_tokens": 8, "data/step_num_gradient_steps": 3}
    scored_window(connection, calls=[exact_call("YES", promptTokenIds=[1, 2, 3])])

    silent = train_window(settings, impatient, window=WINDOW, actor="test")
    assert silent.action == "failed"
    assert "made no progress for 5 s" in str(silent.reason)
    peer.end("job-1")

    adopted = train_window(settings, remote, window=WINDOW, actor="test")
    assert adopted.action == "adopted"
    assert column(connection, "SELECT state FROM training.steps") == ["committed"]
    assert list(peer.jobs) == ["job-1"]
    assert peer.steps == [1]
