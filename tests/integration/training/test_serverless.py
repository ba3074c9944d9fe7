"""The serverless backend through a real trainer process, against a peer on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from recorded import IDS, NO, YES, call, group, groups_file, train_request, trainer_settings
from wandb_peer import WandbPeer

from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.verify_step import verify
from babylon_tasks.training.protocol import EvaluateRequest, InspectRequest, RequestProgress
from babylon_tasks.training.supervisor import Trainer

KEY = "word-of-wandb"
GROUPS = [group([(call(YES, logprobs=(-0.7, -0.1)), 0.9), (call(NO), 0.1)])]


@pytest.fixture(scope="module")
def service() -> Iterator[WandbPeer]:
    with WandbPeer(KEY) as peer:
        yield peer


@pytest.fixture(scope="module")
def remote(service: WandbPeer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    settings = trainer_settings(
        tmp_path_factory.mktemp("serverless"),
        backend="serverless",
        base_model="OpenPipe/Qwen3-14B-Instruct",
        WANDB_API_KEY=KEY,
        wandb_base_url=service.url,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", KEY)  # as in the worker's own environment
        with Trainer(settings) as started:
            started.ready()
            yield started


@pytest.fixture
def peer(service: WandbPeer) -> WandbPeer:
    """The peer, which holds one checkpoint and has forgotten what it was asked."""
    service.fails = None
    service.loss = 0.25
    service.steps = [1]
    service.calls.clear()
    service.jobs.clear()
    return service


def test_the_model_is_registered_and_its_policy_is_named_as_wandb_names_it(
    remote: Trainer, peer: WandbPeer
) -> None:
    ready = remote.ready()

    assert ready.backend == "serverless"
    assert ready.base_url.rstrip("/") == peer.url
    assert not ready.branches
    assert ready.inference_name == "wandb-artifact:///default-entity/babylon/tests:step0"
    [model] = peer.registered
    assert (model.name, model.base_model) == ("tests", "OpenPipe/Qwen3-14B-Instruct")
    assert model.return_existing  # one lineage, however often it is started


def test_a_step_is_a_job_and_each_gradient_step_is_reported(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    reported: list[RequestProgress] = []

    trained = remote.train(train_request(tmp_path, GROUPS, base_step=1), reported.append)

    [job] = peer.jobs.values()
    assert job.ended
    assert [progress.done for progress in reported] == [1, 2, 3]
    assert [progress.loss for progress in reported] == [0.25] * 3
    assert verify(1, trained, "manifest") is None
    assert trained.step == 2
    assert trained.gradient_steps == 3
    assert trained.trainable_tokens > 0
    assert (trained.base_adapter_hash, trained.adapter_hash) == ("checkpoint-1", "checkpoint-2")
    assert trained.inference_name == "wandb-artifact:///default-entity/babylon/tests:step2"
    assert trained.metrics["loss/train"] == 0.25


def test_the_groups_travel_with_rewards_log_probabilities_and_token_ids(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    remote.train(train_request(tmp_path, GROUPS, base_step=1, learning_rate=3e-5))

    [job] = peer.jobs.values()
    sent = job.request
    assert sent.experimental_config["learning_rate"] == 3e-5
    [one] = sent.trajectory_groups
    assert [trajectory["reward"] for trajectory in one["trajectories"]] == [0.9, 0.1]
    system, user, choice = one["trajectories"][0]["messages_and_choices"]
    assert (system["role"], user["role"]) == ("system", "user")
    content = choice["logprobs"]["content"]
    assert [token["token"] for token in content] == [f"token_id:{n}" for n in IDS[YES]]
    assert [token["logprob"] for token in content] == [-0.7, -0.1]
    assert choice["message"]["content"] == YES


def test_what_can_be_checked_without_a_tokenizer_is_refused_before_anything_is_sent(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    texts = call(NO, token_ids=None, tokens=(NO, "<|im_end|>"))
    groups = [*GROUPS, group([(call(YES), 1.0), (texts, 0.0)], "texts")]
    path = groups_file(tmp_path, groups)

    found = remote.inspect(InspectRequest(path, 128))
    unscored = remote.inspect(InspectRequest(path, 128, "parent"))

    assert [(one.trajectory_id, one.reason) for one in found.refusals] == [
        ("texts-1", "no_token_ids")
    ]
    assert found.weights == ()
    assert {one.reason for one in unscored.refusals} == {"no_logprobs"}
    jobs = len(peer.jobs)
    with pytest.raises(TrainingError, match="call 0 of trajectory texts-1"):
        remote.train(train_request(tmp_path, groups, base_step=1))
    assert len(peer.jobs) == jobs


def test_a_failed_job_is_a_failed_step_with_wandbs_reason(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    peer.fails = "the accelerator caught fire"
    pid = remote.pid

    with pytest.raises(TrainingError, match="the accelerator caught fire"):
        remote.train(train_request(tmp_path, GROUPS, base_step=1))

    assert remote.backend_step().step == 1
    assert remote.pid == pid


@pytest.mark.parametrize("loss", ["nan", "inf"])
def test_a_loss_that_is_not_finite_is_a_result_that_is_not_verified(
    remote: Trainer, peer: WandbPeer, tmp_path: Path, loss: str
) -> None:
    peer.loss = float(loss)

    trained = remote.train(train_request(tmp_path, GROUPS, base_step=1))

    assert verify(1, trained, "manifest") == "metrics are not finite: loss/train"
    assert trained.not_finite == {"loss/train": loss}
    assert trained.metrics["loss/grad_norm"] == 0.5


def test_a_step_from_elsewhere_is_refused_before_anything_is_sent(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    for fields in ({"base_step": 5}, {"base_step": 1, "parent_step": 0}):
        with pytest.raises(TrainingError, match=r"newest step 1 only|is at 1"):
            remote.train(train_request(tmp_path, GROUPS, **fields))

    assert not any("training-jobs" in one for one in peer.calls)


def test_the_newest_checkpoint_can_be_discarded(remote: Trainer, peer: WandbPeer) -> None:
    peer.steps = [1, 2]

    with pytest.raises(TrainingError, match="newest step is 2"):
        remote.discard(1)
    assert remote.discard(2).step == 1

    assert peer.steps == [1]


def test_evaluation_is_refused_with_what_to_do(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    groups = train_request(tmp_path, GROUPS).groups_path

    with pytest.raises(TrainingError, match="BABYLON_PROMOTE_WITHOUT_EVALUATION"):
        remote.evaluate(EvaluateRequest(steps=(0, 1), groups_path=groups))


def test_the_peer_alone_is_contacted_and_no_secret_is_left_about(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    remote.train(train_request(tmp_path, GROUPS, base_step=1))

    process = psutil.Process(remote.pid)
    everyone = [process, *process.children(recursive=True)]
    contacted = {one.raddr for each in everyone for one in each.net_connections() if one.raddr}
    assert contacted == {("127.0.0.1", peer.port)}
    assert all("/preview/" in one for one in peer.calls)
    assert KEY not in "\n".join([*process.environ().values(), *process.cmdline()])
    assert KEY not in remote.log_path.read_text()
    assert not [path for path in remote.log_path.parent.rglob("*") if "wandb" in path.name]


def test_pruned_checkpoints_are_deleted_there_and_those_gone_already_are_ignored(
    remote: Trainer, peer: WandbPeer
) -> None:
    peer.steps = [1, 2, 3, 4]

    remote.delete([1, 3])
    remote.delete([1, 2])

    assert peer.steps == [4]
    assert remote.backend_step().step == 4
