"""W&B calls a field of its answers otherwise: nothing is paid for twice, nothing good deleted.

Each of ``art_fields.ANSWERED`` is renamed in the peer's answers, and what comes of it is what
that list says.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from factories import exact_call
from recorded import SECRETS
from scored_windows import column, scored_window
from scoring_runs import MakeSettings
from training_steps import kinds
from wandb_peer import WandbPeer

from babylon_tasks.db.session import Connection
from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings
from babylon_tasks.training.art_fields import (
    ANSWERED,
    SET_ASIDE,
    START_REFUSED,
    STEP_WAITS,
    Field,
)
from babylon_tasks.training.serverless import ServerlessTraining
from babylon_tasks.training.supervisor import Trainer
from babylon_tasks.training.trainer_start import StartTrainer

SUPERVISED = "POST /preview/sft-training-jobs"  # test_supervised_jobs.py


def without(effect: str) -> list[Field]:
    """The fields whose lack has this effect."""
    return [one for one in ANSWERED if one.without == effect and one.call != SUPERVISED]


def named(field: Field) -> str:
    return f"{field.call} {field.path}"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(retry_delay_seconds=0, max_attempts=1)


@pytest.fixture
def scored(connection: Connection, peer: WandbPeer) -> WandbPeer:
    """The peer, which has trained nothing, and a window to train."""
    peer.steps = []
    peer.measured = {"num_trainable_tokens": 8, "data/step_num_gradient_steps": 3}
    scored_window(connection, calls=[exact_call("YES", promptTokenIds=[1, 2, 3])])
    return peer


def train(settings: Settings, trainer: Trainer) -> TrainOutcome:
    return train_window(settings, trainer, window=None, actor="test")


async def opened(folder: Path, url: str) -> None:
    """Start and end what a trainer process runs."""
    start = StartTrainer(
        backend="serverless",
        lineage="tests",
        base_model="OpenPipe/Qwen3-14B-Instruct",
        project="babylon",
        data_dir=str(folder),
        inference_host="127.0.0.1",
        inference_port=0,
        inference_api_key="",
        wandb_api_key=SECRETS["WANDB_API_KEY"],
        wandb_base_url=url,
    )
    backend = ServerlessTraining(start)
    try:
        await backend.open()
    finally:
        await backend.close()


@pytest.mark.parametrize("field", without(START_REFUSED), ids=named)
def test_a_model_that_cannot_be_named_is_refused_at_the_start(
    peer: WandbPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: Field
) -> None:
    monkeypatch.setattr(peer, "renamed", (field,))  # not for the trainer of the tests after this

    with pytest.raises(BackendUnavailable, match=f"no `{field.path}`"):
        asyncio.run(opened(tmp_path, peer.url))


@pytest.mark.contract("today")
@pytest.mark.parametrize("field", without(STEP_WAITS), ids=named)
def test_a_step_waits_until_its_answers_can_be_read(
    connection: Connection, settings: Settings, remote: Trainer, scored: WandbPeer, field: Field
) -> None:
    scored.renamed = (field,)

    why = str(train(settings, remote).reason)

    assert f"`{field.path.rpartition('.')[2]}`" in why
    assert column(connection, "SELECT training_tries FROM training.windows") == [0]
    for job in scored.jobs:
        scored.end(job)
    scored.renamed = ()
    assert train(settings, remote).action == "adopted"
    assert list(scored.jobs) == ["job-1"], "paid for once"
    assert scored.steps == [1]
    assert not any("DELETE" in one for one in scored.calls)


@pytest.mark.contract("today")
@pytest.mark.parametrize("field", without(SET_ASIDE), ids=named)
def test_a_checkpoint_of_which_too_little_is_known_is_set_aside(
    connection: Connection, settings: Settings, remote: Trainer, scored: WandbPeer, field: Field
) -> None:
    scored.renamed = (field,)
    if field.path == "data[].metrics":  # which are read where the job's reference is lost
        scored.answers = ["lost"]
        train(settings, remote)
        scored.end("job-1")

    outcome = train(settings, remote)

    assert "no number of" in str(outcome.reason)
    assert "checkpoint_set_aside" in kinds(connection)
    assert (list(scored.jobs), scored.steps) == (["job-1"], [1])


@pytest.mark.contract("today")
@pytest.mark.parametrize("told_by", ["token", "bytes"])
def test_nothing_else_is_missed(
    settings: Settings, remote: Trainer, scored: WandbPeer, tmp_path: Path, told_by: str
) -> None:
    """Tokens are told apart by either."""
    scored.renamed = tuple(one for one in without("") if not one.path.endswith(told_by))

    asyncio.run(opened(tmp_path, scored.url))
    assert train(settings, remote).action == "committed"
    remote.delete([1])
    assert scored.steps == []
