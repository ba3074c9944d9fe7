"""The importance ratios that a real step reports, against log-probabilities computed apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from recorded import IDS, NO, QUESTION, TORCH_DEVICE, YES, call, group, many, prompt

from babylon_tasks.errors import TrainingError
from babylon_tasks.records import Group
from babylon_tasks.settings import Settings
from babylon_tasks.step_metrics import (
    ANSWER_TOKENS,
    CLIPPED_SHARE,
    ENTROPY,
    LARGEST_MISMATCH_KL,
    LENGTH_CORRELATION,
    MISMATCH_KL,
    RATIO_MAX,
    RATIO_MEAN,
    REWARD,
    SAMPLE_SHARE,
)
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.device import choose_device
from babylon_tasks.training.inspect_calls import InspectedCall
from babylon_tasks.training.policy import Policy, undo_art_mask_patch
from babylon_tasks.training.rescoring import rescored
from babylon_tasks.training.supervisor import Trainer

Train = Callable[..., StepResult]
ONE_ROW = {"packed_sequence_length": 512}
ASKED = [(YES, 1.0), (NO, 0.0), (YES, 0.5), (NO, 0.25)]


@pytest.fixture(scope="module")
def bystander(worker_settings: Settings) -> Policy:
    """The trainer's model once more, in this process, with the trainer's checkpoints."""
    undo_art_mask_patch()
    models = worker_settings.data_dir.absolute() / worker_settings.project / "models"
    checkpoints = models / worker_settings.lineage / "checkpoints"
    return Policy(worker_settings.base_model, checkpoints, choose_device(TORCH_DEVICE))


def logprobs(policy: Policy, answer: str, step: int) -> tuple[float, ...]:
    """Of an answer to QUESTION under a checkpoint."""
    asked = [{"role": role, "content": text} for role, text in prompt(QUESTION)]
    ids = policy.tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
    [found] = rescored(policy, [InspectedCall(call(answer), tuple(ids))], lambda _: step)
    assert found.logprobs is not None
    return found.logprobs


def answers(of: Mapping[str, tuple[float, ...]]) -> list[Group]:
    """A group whose answers were recorded with these log-probabilities."""
    return [group([(call(answer, logprobs=of[answer]), reward) for answer, reward in ASKED])]


def test_an_unchanged_policy_has_ratio_1_in_its_first_row(train: Train, bystander: Policy) -> None:
    recorded = {answer: logprobs(bystander, answer, 0) for answer in IDS}

    trained = train(answers(recorded), **ONE_ROW, max_mismatch_kl=1e-3)

    assert trained.gradient_steps == 1
    found = trained.metrics
    # Where the processor multiplies bf16, a token in another row is rounded otherwise.
    assert found[RATIO_MEAN] == pytest.approx(1, abs=2e-3)
    assert found[RATIO_MAX] == pytest.approx(1, abs=5e-3)
    assert found[SAMPLE_SHARE] == pytest.approx(1, abs=1e-5)
    assert found[MISMATCH_KL] == pytest.approx(0, abs=1e-5)
    assert found[CLIPPED_SHARE] == 0
    assert found[ENTROPY] == pytest.approx(math.log(49152), rel=0.05)
    assert found[REWARD] == pytest.approx(0.4375)
    assert found[ANSWER_TOKENS] == 2
    assert LENGTH_CORRELATION not in found, "all answers are equally long"


def test_answers_of_a_policy_some_steps_older_have_the_ratios_that_are_computed_apart(
    train: Train, bystander: Policy
) -> None:
    first = train(many(3), learning_rate=0.05)
    second = train(many(3), learning_rate=0.05, parent_step=first.step)
    recorded = {answer: logprobs(bystander, answer, 0) for answer in IDS}
    current = {answer: logprobs(bystander, answer, second.step) for answer in IDS}

    trained = train(answers(recorded), **ONE_ROW, parent_step=second.step)

    assert trained.gradient_steps == 1
    differences = [
        new - old
        for answer, _ in ASKED
        for new, old in zip(current[answer], recorded[answer], strict=True)
    ]
    ratios = [math.exp(one) for one in differences]
    tokens = len(ratios)
    assert max(ratios) > 1.5, "the policy has moved"
    found = trained.metrics
    near: dict[str, Any] = {"rel": 5e-3}
    assert found[RATIO_MEAN] == pytest.approx(sum(ratios) / tokens, **near)
    assert found[RATIO_MAX] == pytest.approx(max(ratios), **near)
    assert found[CLIPPED_SHARE] == sum(one > 5 for one in ratios) / tokens
    kl = sum(one - 1 - math.log(one) for one in ratios) / tokens
    assert found[MISMATCH_KL] == pytest.approx(kl, **near)
    share = sum(ratios) ** 2 / sum(one * one for one in ratios) / tokens
    assert found[SAMPLE_SHARE] == pytest.approx(share, **near)


def test_answers_of_another_policy_are_refused_before_any_weight_is_changed(
    trainer: Trainer, train: Train
) -> None:
    sound = train(many(2))
    trainer.discard(sound.step)
    before = trainer.backend_step()
    certain = dict.fromkeys(IDS, (-0.01, -0.01))  # the tiny model gives them one in 49,152

    with pytest.raises(TrainingError, match="importance ratios exploded over the whole step: "):
        train(answers(certain), max_mismatch_kl=1.0)

    assert trainer.backend_step() == before
    assert train(many(2)).adapter_hash == sound.adapter_hash, "the weights are those of before"


def test_a_step_that_runs_away_from_its_parent_is_refused_on_the_way(
    trainer: Trainer, train: Train
) -> None:
    far = {"learning_rate": 0.5, "packed_sequence_length": 256}
    # Gradient steps of 68 tokens: fewer are not judged by themselves.
    groups = [
        group([(call(YES, question), 1.0), (call(NO, question), 0.0)] * 17, question)
        for question in ("Will it rain?", "Will it snow?", "Will it pour?", "Will it freeze?")
    ]
    free = train(groups, **far)
    trainer.discard(free.step)
    before = trainer.backend_step()
    largest = free.metrics[LARGEST_MISMATCH_KL]
    assert 0 < free.metrics[MISMATCH_KL] < largest

    with pytest.raises(TrainingError, match=r"before gradient step [2-9]: .*BABYLON_LEARNING_RATE"):
        train(groups, **far, max_mismatch_kl=0.9 * largest)

    assert trainer.backend_step() == before
    assert train(groups, **far).adapter_hash == free.adapter_hash
