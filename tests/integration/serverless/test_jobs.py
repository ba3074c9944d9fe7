"""The serverless backend through a real trainer process, against a peer on the loopback."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from recorded import IDS, NO, SECRETS, YES, call, group, groups_file, train_request
from wandb_peer import WandbPeer, fields_of

from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.verify_step import verify
from babylon_tasks.training.art_fields import SENT
from babylon_tasks.training.art_interface import installed
from babylon_tasks.training.protocol import EvaluateRequest, InspectRequest, RequestProgress
from babylon_tasks.training.supervisor import Trainer

PROMPT = (1, 2, 3)
GROUPS = [
    group(
        [
            (call(YES, logprobs=(-0.7, -0.1), prompt_ids=PROMPT), 0.9),
            (call(NO, prompt_ids=PROMPT), 0.1),
        ]
    )
]


def test_the_model_is_registered_and_its_policy_is_named_as_wandb_names_it(
    remote: Trainer, peer: WandbPeer
) -> None:
    ready = remote.ready()

    assert ready.backend == "serverless"
    assert ready.base_url.rstrip("/") == peer.url
    assert not ready.branches
    assert ready.inference_name == "wandb-artifact:///default-entity/babylon/tests:step0"
    model, *others = peer.registered
    assert all(one == model for one in others), "every trainer of a lineage registers the same"
    assert (model.name, model.base_model) == ("tests", "OpenPipe/Qwen3-14B-Instruct")
    assert model.return_existing  # one lineage, however often it is started


def test_a_step_is_a_job_and_each_gradient_step_is_reported(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    reported: list[RequestProgress] = []

    trained = remote.train(train_request(tmp_path, GROUPS, base_step=1), reported.append)

    [job] = peer.jobs.values()
    assert job.ended
    assert [progress.job for progress in reported[:5]] == ["?", "job-1", None, None, None]
    assert [progress.done for progress in reported[2:5]] == [1, 2, 3]
    assert {progress.done for progress in reported[5:]} == {3}, "while the policies are asked"
    assert [progress.loss for progress in reported[2:]] == [0.25] * len(reported[2:])
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
    remote.train(train_request(tmp_path, GROUPS, base_step=1))

    [job] = peer.jobs.values()
    sent = job.request
    [one] = sent.trajectory_groups
    assert [trajectory["reward"] for trajectory in one["trajectories"]] == [0.9, 0.1]
    system, user, choice = one["trajectories"][0]["messages_and_choices"]
    assert (system["role"], user["role"]) == ("system", "user")
    content = choice["logprobs"]["content"]
    assert [token["token"] for token in content] == [f"token_id:{n}" for n in IDS[YES]]
    assert [token["logprob"] for token in content] == [-0.7, -0.1]
    assert choice["message"]["content"] == YES


def test_what_travels_is_what_is_listed(remote: Trainer, peer: WandbPeer, tmp_path: Path) -> None:
    remote.train(train_request(tmp_path, GROUPS, base_step=1))
    remote.discard(2)

    listed = {
        (field.call.replace("…", "/preview/models/model-1"), field.path)
        for field in SENT
        if field.only in (None, installed().release)
    }
    assert {sent for call, body in peer.bodies for sent in fields_of(call, body)} == listed


def test_what_is_set_of_the_loss_is_sent(remote: Trainer, peer: WandbPeer, tmp_path: Path) -> None:
    loss = {"learning_rate": 3e-5, "scale_rewards": False, "advantage_balance": 0.25}
    request = train_request(tmp_path, GROUPS, base_step=1, max_importance_ratio=3.0, **loss)

    remote.train(request)

    [job] = peer.jobs.values()
    sent = job.request.experimental_config
    assert sent | loss == sent
    assert sent["max_negative_advantage_importance_sampling_weight"] == 3.0


def test_the_kl_coefficient_is_sent_where_art_has_it(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    remote.train(train_request(tmp_path, GROUPS, base_step=1, kl_coefficient=0.25))

    [job] = peer.jobs.values()
    sent = job.request.experimental_config.get("kl_penalty_coef")
    assert sent == (0.25 if installed().serverless_options else None)


@pytest.mark.parametrize("name", ["data/step_trainer_tokens", "train_tokens"])
def test_tokens_are_counted_under_every_name_that_is_known(
    remote: Trainer, peer: WandbPeer, tmp_path: Path, name: str
) -> None:
    peer.counts = name

    trained = remote.train(train_request(tmp_path, GROUPS, base_step=1))

    assert trained.trainable_tokens == 8
    assert trained.not_reported == ()


def test_a_count_under_an_unknown_name_is_reported_as_lacking(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    peer.counts = "tokens_of_tomorrow"

    trained = remote.train(train_request(tmp_path, GROUPS, base_step=1))

    assert trained.not_reported == ("trained tokens",)
    assert "no number of trained tokens" in str(verify(1, trained, "manifest"))
    assert peer.steps == [1, 2]


def test_prompts_travel_with_their_token_ids(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    remote.train(train_request(tmp_path, GROUPS, base_step=1))

    [job] = peer.jobs.values()
    *_, choice = job.request.trajectory_groups[0]["trajectories"][0]["messages_and_choices"]
    assert choice["prompt_token_ids"] == [1, 2, 3]
    assert choice["token_ids"] == list(IDS[YES])


def test_answers_without_the_ids_of_their_prompt_are_refused_where_art_needs_them(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    path = groups_file(tmp_path, [group([(call(YES), 1.0), (call(NO), 0.0)])])

    found = remote.inspect(InspectRequest(path, 128))

    assert len(found.refusals) == (2 if installed().needs_prompt_ids else 0)
    assert {one.reason for one in found.refusals} <= {"no_token_ids"}


def test_events_without_end_are_not_read_without_end(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    peer.padding, peer.page = 10_000, 500  # 500 pages of 20 would take half a minute

    with pytest.raises(TrainingError, match="more than 10000 events of job job-1"):
        remote.train(train_request(tmp_path, GROUPS, base_step=1))


def test_what_can_be_checked_without_a_tokenizer_is_refused_before_anything_is_sent(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    texts = call(NO, token_ids=None, tokens=(NO, "<|im_end|>"))
    groups = [*GROUPS, group([(call(YES, prompt_ids=PROMPT), 1.0), (texts, 0.0)], "texts")]
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

    with pytest.raises(TrainingError, match="BABYLON_PROMOTION_MODE=screened"):
        remote.evaluate(EvaluateRequest(steps=(0, 1), groups_path=groups))


def test_the_peer_alone_is_contacted_and_no_secret_is_left_about(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    remote.train(train_request(tmp_path, GROUPS, base_step=1))

    process = psutil.Process(remote.pid)
    everyone = [process, *process.children(recursive=True)]
    contacted = {one.raddr for each in everyone for one in each.net_connections() if one.raddr}
    assert contacted == {("127.0.0.1", peer.port)}
    assert all("/preview/" in one or "/chat/" in one for one in peer.calls)
    assert SECRETS["WANDB_API_KEY"] not in "\n".join(
        [*process.environ().values(), *process.cmdline()]
    )
    assert SECRETS["WANDB_API_KEY"] not in remote.log_path.read_text()
    # The files of its client, which draws the curves, are in the lineage's folder.
    data = remote.log_path.parent
    assert {one.parent for one in data.rglob("wandb")} <= {data / "babylon/models/tests"}
    files = [path for path in data.rglob("*") if path.is_file()]
    assert not [one for one in files if SECRETS["WANDB_API_KEY"].encode() in one.read_bytes()]


def test_pruned_checkpoints_are_deleted_there_and_those_gone_already_are_ignored(
    remote: Trainer, peer: WandbPeer
) -> None:
    peer.steps = [1, 2, 3, 4]

    remote.delete([1, 3])
    remote.delete([1, 2])

    assert peer.steps == [4]
    assert remote.backend_step().step == 4
