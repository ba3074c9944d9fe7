"""Log-probabilities that were not recorded, computed under the checkpoint that answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded import QUESTION, call, group, groups_file, many, train_request

from babylon_tasks.errors import TrainingError
from babylon_tasks.training.inspect_calls import InspectedCall
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.protocol import InspectRequest
from babylon_tasks.training.rescoring import rescored
from babylon_tasks.training.sampling import SamplingRequest, sample
from babylon_tasks.training.supervisor import Trainer


def prompt(policy: Policy, question: str) -> tuple[int, ...]:
    asked = [{"role": "user", "content": question}]
    return tuple(
        policy.tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
    )


def test_an_answer_is_rescored_to_the_log_probabilities_that_it_was_sampled_with(
    policy: Policy,
) -> None:
    asked = [prompt(policy, question) for question in (QUESTION, "Another question?")]
    answers = sample(
        policy, [SamplingRequest(one, n=3, max_tokens=40, seed=1) for one in asked], step=0
    )
    proofs = [
        InspectedCall(call(answer.text, token_ids=tuple(answer.token_ids), logprobs=None), one)
        for one, several in zip(asked, answers, strict=True)
        for answer in several
    ]

    found = rescored(policy, proofs, lambda _: 0)

    for one, answer in zip(found, (a for several in answers for a in several), strict=True):
        assert one.token_ids == tuple(answer.token_ids)
        assert one.logprobs == pytest.approx(answer.logprobs, abs=1e-3)


def test_each_call_is_rescored_by_the_checkpoint_that_it_names(
    trainer: Trainer, train: Any, tmp_path: Path
) -> None:
    learned = train(many(6), learning_rate=0.1)
    at = learned.step

    def step_on(model: str, label: str) -> float:
        calls = [
            (call(answer, model=model, logprobs=None, policy_step=None), reward)
            for answer, reward in (("Yes", 1.0), ("No", 0.0))
        ]
        request = train_request(
            tmp_path, [group(calls)], base_step=at, parent_step=0, logprobs=label
        )
        trained = trainer.train(request)
        trainer.discard(trained.step)
        return trained.metrics["loss/grad_norm"]

    # The ratio to what another checkpoint would have said is not 1, and the gradient not the same.
    assert step_on("tests@0", "rescored") == pytest.approx(step_on("tests@0", "parent"), rel=1e-3)
    assert step_on(f"tests@{at}", "rescored") != pytest.approx(
        step_on("tests@0", "rescored"), rel=1e-2
    )


def test_a_checkpoint_whose_weights_are_gone_is_named(
    trainer: Trainer, train: Any, tmp_path: Path
) -> None:
    one = group([(call("Yes", model="tests@77", logprobs=None, policy_step=None), 1.0)])
    at = trainer.backend_step().step

    found = trainer.inspect(InspectRequest(groups_file(tmp_path, [one]), 128, "rescored"))

    [refusal] = found.refusals
    assert refusal.reason == "weights_gone"
    assert "checkpoint 77" in refusal.detail
    request = train_request(tmp_path, [one], base_step=at, parent_step=0, logprobs="rescored")
    with pytest.raises(TrainingError, match="checkpoint 77"):
        trainer.train(request)
    assert trainer.backend_step().step == at
