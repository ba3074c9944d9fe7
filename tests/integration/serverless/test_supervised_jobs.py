"""Supervised jobs of backend ``serverless``, by ART's own client, against the peer.

In this process, because W&B's library is replaced: its artifacts need W&B's servers.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from openai import APIConnectionError
from recorded import NO, SECRETS, YES, call, group, prompt, train_request, without_logprobs
from wandb_peer import WandbPeer, fields_of
from wandb_supervised import WandbLibrary

from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline.verify_step import verify
from babylon_tasks.records import Group
from babylon_tasks.step_records import StepResult, SupervisedConfig
from babylon_tasks.training import art_supervised, wandb_upload
from babylon_tasks.training.art_fields import ANSWERED, SENT_SUPERVISED
from babylon_tasks.training.art_interface import installed
from babylon_tasks.training.protocol import RequestProgress
from babylon_tasks.training.serverless import ServerlessTraining
from babylon_tasks.training.trainer_start import StartTrainer

ONCE = SupervisedConfig(
    epochs=1, calls_per_gradient_step=2, warmup_gradient_steps=2, top_share=0.25
)
GROUPS = [
    group([(without_logprobs(call(answer, f"{n}?", model="gpt-4.1")), 1.0)], f"m-{n}")
    for n, answer in enumerate((YES, NO, YES))
]
Train = Callable[..., StepResult]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> WandbLibrary:
    """W&B's library, replaced where ART imports it."""
    from art.serverless import backend

    made = WandbLibrary()
    monkeypatch.setattr(art_supervised, "_POLL_SECONDS", 0.01)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", made)  # type: ignore[arg-type]
    if hasattr(backend, "wandb_sdk"):
        monkeypatch.setattr(backend, "wandb_sdk", made)
    return made


@pytest.fixture
def train(peer: WandbPeer, library: WandbLibrary, tmp_path: Path) -> Train:
    """``train(groups, reported, **fields)``: one supervised step from checkpoint 1."""

    async def run(
        groups: Sequence[Group], reported: list[RequestProgress], fields: dict[str, Any]
    ) -> StepResult:
        start = StartTrainer(
            backend="serverless",
            lineage="tests",
            base_model="OpenPipe/Qwen3-14B-Instruct",
            project="babylon",
            data_dir=str(tmp_path),
            inference_host="127.0.0.1",
            inference_port=0,
            inference_api_key="",
            wandb_api_key=SECRETS["WANDB_API_KEY"],
            wandb_base_url=peer.url,
        )
        backend = ServerlessTraining(start)
        await backend.open()
        try:
            asked = {"base_step": 1, "supervised": ONCE, "learning_rate": 0.4, **fields}
            request = train_request(tmp_path, groups, **asked)
            return await backend.train(request, groups, reported.append)
        finally:
            await backend.close()

    def step(
        groups: Sequence[Group], reported: list[RequestProgress] | None = None, **fields: Any
    ) -> StepResult:
        return asyncio.run(run(groups, [] if reported is None else reported, fields))

    return step


def test_the_answers_are_uploaded_and_a_job_is_begun_on_them(
    train: Train, peer: WandbPeer, library: WandbLibrary
) -> None:
    trained = train(GROUPS)

    [job] = peer.jobs.values()
    [(name, lines)] = library.uploaded.items()
    assert job.request.training_data_url == (  # type: ignore[union-attr]
        f"wandb-artifact:///default-entity/babylon/{name}:v0"
    )
    expected = [
        {"messages": [*_messages(f"{n}?"), {"role": "assistant", "content": answer}]}
        for n, answer in enumerate((YES, NO, YES))
    ]
    assert sorted(lines, key=str) == sorted(expected, key=str)
    assert verify(1, trained, "manifest") is None
    assert (trained.step, trained.gradient_steps) == (2, 3)
    assert trained.metrics["loss/train"] == 0.25
    assert trained.metrics["loss/learning_rate"] == 0.4


def test_wandbs_library_is_quiet_and_leaves_no_file(train: Train, library: WandbLibrary) -> None:
    before = dict(os.environ)

    train(GROUPS)

    folder = Path(library.variables["WANDB_DIR"])
    assert folder.name.startswith("babylon-tasks-wandb-")
    assert not folder.exists()
    assert library.variables["WANDB_SILENT"] == "true"
    assert library.variables["WANDB_CACHE_DIR"] == library.variables["WANDB_DATA_DIR"]
    assert dict(os.environ) == before


def test_an_upload_without_end_blocks_nobody_and_pays_for_no_job(
    train: Train, peer: WandbPeer, library: WandbLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.hangs = threading.Event()
    monkeypatch.setattr(wandb_upload, "UPLOAD_SECONDS", 0.3)

    with pytest.raises(TrainingError, match="no job was asked for") as failure:
        train(GROUPS)

    library.hangs.set()
    [thread] = library.threads
    assert thread != threading.get_ident()
    assert failure.value.fault is Fault.CONNECTION_LOST
    for one in threading.enumerate():
        if one.ident == thread:
            one.join(60)
    assert peer.jobs == {}


def test_each_gradient_step_has_its_rate_and_size(train: Train, peer: WandbPeer) -> None:
    train(GROUPS)

    [job] = peer.jobs.values()
    sent = job.request.config  # type: ignore[union-attr]
    assert (sent["batch_size"], sent["learning_rate"]) == (2, [0.2, 0.4])


def test_what_travels_is_what_is_listed(train: Train, peer: WandbPeer) -> None:
    peer.bodies.clear()

    train(GROUPS)

    listed = {
        (field.call, field.path)
        for field in SENT_SUPERVISED
        if field.only in (None, installed().release)
    }
    sent = [(call, body) for call, body in peer.bodies if "sft" in call]
    assert {field for call, body in sent for field in fields_of(call, body)} == listed


def test_the_jobs_reference_is_reported_before_it_is_waited_for(
    train: Train, peer: WandbPeer
) -> None:
    reported: list[RequestProgress] = []

    train(GROUPS, reported)

    assert [progress.job for progress in reported[:2]] == ["?", "job-1"]
    assert [progress.done for progress in reported[2:5]] == [1, 2, 3]


def test_a_reference_under_another_name_is_missed_before_the_job_is_waited_for(
    train: Train, peer: WandbPeer
) -> None:
    peer.renamed = tuple(one for one in ANSWERED if "sft" in one.call)
    reported: list[RequestProgress] = []

    with pytest.raises(TrainingError, match="a job that has no `id`"):
        train(GROUPS, reported)

    assert [progress.job for progress in reported] == ["?"], "there may be one"


def test_a_job_that_an_earlier_run_began_is_followed_and_not_paid_twice(
    train: Train, peer: WandbPeer, library: WandbLibrary
) -> None:
    train(GROUPS)
    peer.steps = [1]  # its checkpoint comes once it has ended
    peer.jobs["job-1"].ended = False

    followed = train(GROUPS, job="job-1")

    assert len(peer.jobs) == len(library.uploaded) == 1
    assert verify(1, followed, "manifest") is None
    assert followed.gradient_steps == 3


def test_the_checkpoint_of_a_lost_answer_is_described_as_any_supervised_step(
    train: Train, peer: WandbPeer
) -> None:
    train(GROUPS)
    peer.measured = {"data/step_num_gradient_steps": 3, "loss": 0.5}

    adopted = train(GROUPS, job="?")

    assert verify(1, adopted, "manifest") is None
    assert (adopted.gradient_steps, adopted.trainable_tokens) == (3, 2 * 3)
    assert adopted.metrics["loss/learning_rate"] == 0.4


def test_an_event_of_a_type_that_nobody_knows_is_no_failure(train: Train, peer: WandbPeer) -> None:
    peer.unknown = "checkpoint_uploaded"
    train(GROUPS)
    peer.steps, peer.jobs["job-1"].ended = [1], False

    assert verify(1, train(GROUPS, job="job-1"), "manifest") is None


def test_where_wandb_counts_no_tokens_the_least_is_taken(train: Train, peer: WandbPeer) -> None:
    peer.counts = "something_else"

    trained = train(GROUPS)

    assert verify(1, trained, "manifest") is None
    assert trained.trainable_tokens == 2 * 3


@pytest.mark.parametrize("job", [None, "job-1"])
def test_a_job_that_fails_says_why_and_is_not_followed_again(
    train: Train, peer: WandbPeer, job: str | None
) -> None:
    train(GROUPS)
    peer.steps, peer.fails = [1], "no GPU is left"
    peer.jobs["job-1"].ended = False
    reported: list[RequestProgress] = []

    with pytest.raises((TrainingError, RuntimeError), match="no GPU is left"):
        train(GROUPS, reported, job=job)

    assert reported[-1].job == ""


@pytest.mark.parametrize(
    ("status", "known"), [(402, ["?", ""]), (429, ["?", ""]), (408, ["?"]), (502, ["?"])]
)
def test_a_refused_request_begins_no_job_and_one_that_was_given_up_may(
    train: Train, peer: WandbPeer, status: int, known: list[str]
) -> None:
    peer.answers = [status]
    reported: list[RequestProgress] = []

    with pytest.raises(Exception, match=str(status)):
        train(GROUPS, reported)

    assert [progress.job for progress in reported] == known
    assert peer.jobs == {}


def test_a_lost_answer_leaves_a_job_that_may_run(train: Train, peer: WandbPeer) -> None:
    peer.answers = ["lost"]
    reported: list[RequestProgress] = []

    with pytest.raises(APIConnectionError):
        train(GROUPS, reported)

    assert [progress.job for progress in reported] == ["?"]
    assert list(peer.jobs) == ["job-1"]


def _messages(question: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in prompt(question)]
