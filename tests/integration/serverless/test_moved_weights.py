"""That a job has moved the weights is proved by what parent and checkpoint answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import WINDOW, exact_call
from recorded import NO, YES, call, group, train_request
from scored_windows import column, scored_window
from scoring_runs import MakeSettings
from training_steps import kinds
from wandb_peer import WandbPeer

from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.pipeline.verify_step import is_worthless, verify
from babylon_tasks.training.supervisor import Trainer

PROMPT = (1, 2, 3)
GROUPS = [
    group([(call(YES, prompt_ids=PROMPT), 0.9), (call(NO, prompt_ids=PROMPT), 0.1)]),
]


def test_other_answers_are_the_proof_and_what_was_measured_is_kept(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    before = len(peer.bodies)

    trained = remote.train(train_request(tmp_path, GROUPS, base_step=1))

    assert verify(1, trained, "manifest") is None
    assert trained.metrics["policy/proven"] == 1.0
    assert trained.metrics["policy/moved"] > 0.1
    assert trained.metrics["policy/noise"] == 0.0
    assert trained.metrics["policy/compared_tokens"] == 20
    asked = [body for call, body in peer.bodies[before:] if call == "POST /chat/completions"]
    assert [one["model"][-5:] for one in asked[:2]] == ["step1", "step2"]
    assert {one["messages"][1]["content"] for one in asked} == {
        GROUPS[0].members[0].calls[0].messages[1][1]
    }


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_a_job_that_leaves_the_policy_as_it_was_is_not_verified_though_its_id_is_new(
    remote: Trainer, peer: WandbPeer, tmp_path: Path, noise: float
) -> None:
    peer.idle, peer.noise = True, noise

    trained = remote.train(train_request(tmp_path, GROUPS, base_step=1))

    assert trained.adapter_hash != trained.base_adapter_hash
    assert "the weights did not move" in str(verify(1, trained, "manifest"))
    assert not is_worthless(trained)


def test_a_difference_is_found_beyond_noise(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    peer.noise = 0.05

    trained = remote.train(train_request(tmp_path, GROUPS, base_step=1))

    assert verify(1, trained, "manifest") is None
    assert 0.01 < trained.metrics["policy/noise"] < 0.1


def test_an_endpoint_that_does_not_answer_is_not_the_windows_fault(
    remote: Trainer, peer: WandbPeer, tmp_path: Path
) -> None:
    peer.broken = "/chat/"

    with pytest.raises(TrainingError, match="the step goes on once the inference") as failure:
        remote.train(train_request(tmp_path, GROUPS, base_step=1))

    assert failure.value.fault is Fault.SERVICE_REFUSES


@pytest.mark.contract("today")
def test_the_step_fails_by_name_with_what_was_measured_and_its_checkpoint_is_set_aside(
    connection: Connection, make_settings: MakeSettings, remote: Trainer, peer: WandbPeer
) -> None:
    peer.steps, peer.idle = [], True
    settings = make_settings(retry_delay_seconds=0, max_attempts=2)
    scored_window(connection, calls=[exact_call("YES", promptTokenIds=[1, 2, 3])])

    outcome = train_window(settings, remote, window=WINDOW, actor="test")

    assert outcome.action == "failed"
    assert "not verified: the weights did not move" in str(outcome.reason)
    assert "checkpoint_set_aside" in kinds(connection)
    assert peer.steps == [1], "it stays where it is"
    [measured] = column(connection, "SELECT metrics FROM training.steps")
    assert isinstance(measured, dict)
    assert measured["policy/moved"] == measured["policy/noise"] == 0.0
