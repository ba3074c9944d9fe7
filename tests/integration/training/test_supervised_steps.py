"""A supervised step on the tiny model, through the trainer process."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from recorded import IDS, NO, QUESTION, call, group, train_request, without_logprobs, yes_pays

from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.verify_step import verify
from babylon_tasks.records import Group
from babylon_tasks.step_metrics import ENTROPY, LEARNING_RATE, LOSS, RATIO_MEAN, REWARD
from babylon_tasks.step_records import StepResult, SupervisedConfig
from babylon_tasks.training.answer_tokens import AnswerTokens
from babylon_tasks.training.checkpoints import OPTIMIZER
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.protocol import GRADIENT_STEPS, RequestProgress
from babylon_tasks.training.supervised_batches import AnswerBatch
from babylon_tasks.training.supervised_gradient import supervised_gradient
from babylon_tasks.training.supervisor import Trainer

Train = Callable[..., StepResult]
Value = Callable[..., float]

TWICE = SupervisedConfig(
    epochs=2, calls_per_gradient_step=2, warmup_gradient_steps=2, top_share=0.25
)


def answers(count: int = 3) -> list[Group]:
    """One answer to each of some questions."""
    return [
        group([(without_logprobs(call(NO, f"{n}: {QUESTION}", model="gpt-4.1")), 0.5)], f"m-{n}")
        for n in range(count)
    ]


def probability(value: Value, step: int, question: str) -> float:
    """How likely the policy is to answer NO."""
    return value(step, yes_pays(question, yes=0.0, no=1.0))


def test_recorded_answers_become_likelier_whoever_gave_them(train: Train, value: Value) -> None:
    trained = train(answers(), supervised=TWICE)

    for n in range(3):
        question = f"{n}: {QUESTION}"
        assert probability(value, trained.step, question) > 2 * probability(value, 0, question)


def test_the_tokens_of_the_answers_and_their_ends_are_counted_in_each_epoch(
    trainer: Trainer, train: Train
) -> None:
    before = trainer.backend_step().step

    trained = train(answers(), supervised=TWICE, manifest_hash="of-this-step")

    assert verify(before, trained, "of-this-step") is None
    assert trained.gradient_steps == 2 * 2  # epochs, batches of 2 and of 1
    assert trained.trainable_tokens == 2 * 3 * len(IDS[NO])
    assert all(math.isfinite(figure) for figure in trained.metrics.values())
    assert trained.metrics[LEARNING_RATE] == 1e-2
    assert {LOSS, ENTROPY, "loss/grad_norm"} <= trained.metrics.keys()
    assert not {REWARD, RATIO_MEAN} & trained.metrics.keys(), "those are GRPO's"
    assert trainer.backend_step().result == trained


def test_each_gradient_step_is_reported(trainer: Trainer, train: Train, tmp_path: Path) -> None:
    reported: list[RequestProgress] = []
    base = trainer.backend_step().step
    request = train_request(tmp_path, answers(), base_step=base, parent_step=0, supervised=TWICE)

    trainer.train(request, reported.append)
    trainer.discard(base + 1)

    tokenised = [one for one in reported if one.counted == "answers tokenised"]
    assert [(one.done, one.total) for one in tokenised] == [(1, 3), (2, 3), (3, 3)]
    steps = [one for one in reported if one.counted == GRADIENT_STEPS]
    assert [one.done for one in steps] == [1, 2, 3, 4]
    assert {one.total for one in steps} == {4}


def test_the_same_step_again_gives_the_same_weights(trainer: Trainer, train: Train) -> None:
    first = train(answers(), supervised=TWICE)
    trainer.discard(first.step)
    again = train(answers(), supervised=TWICE)
    other = train(answers(), supervised=TWICE, seed=1)

    assert again.adapter_hash == first.adapter_hash != other.adapter_hash


def test_neither_step_takes_over_the_others_optimizer_state(trainer: Trainer, train: Train) -> None:
    """Its moments are of gradients of another size: they would shrink the next steps."""
    supervised = train(answers(), supervised=TWICE)
    after = train([yes_pays()], parent_step=supervised.step)
    trainer.discard(after.step)
    train([yes_pays()], parent_step=0)  # leaves moments in memory
    trainer.discard(after.step)
    again = train([yes_pays()], parent_step=supervised.step)

    assert not (Path(supervised.uri) / OPTIMIZER).exists()
    assert OPTIMIZER not in supervised.files
    assert (Path(again.uri) / OPTIMIZER).exists()
    assert again.adapter_hash == after.adapter_hash


def test_what_cannot_be_learned_from_ends_the_step_and_nothing_is_written(
    trainer: Trainer, train: Train
) -> None:
    before = trainer.backend_step().step
    long = [group([(without_logprobs(call("No " * 200)), 1.0)])]

    with pytest.raises(TrainingError, match=r"call 0 of trajectory market-0 .*too_long"):
        train([*answers(), *long], supervised=TWICE)

    assert trainer.backend_step().step == before


def loss_of(
    policy: Policy, tokens: Sequence[AnswerTokens], row_length: int, weight: float = 1.0
) -> dict[str, float]:
    """The figures of a gradient step that changes nothing."""
    optimizer = torch.optim.SGD(policy.trained_parameters(), lr=0.0)
    batch = AnswerBatch(tuple(tokens), 0.0)
    return supervised_gradient(policy, optimizer, batch, row_length, weight)


def test_how_answers_are_packed_into_rows_changes_nothing(policy: Policy) -> None:
    tokens = [
        AnswerTokens((1, 4093, 198), (10539, 2)),
        AnswerTokens((1, 355), (5230, 198, 7, 2)),
        AnswerTokens((1, 216, 36, 29), (2,)),
        # The prompt of another is computed once for both, in a row that contains both.
        AnswerTokens((1, 355), (5230, 7, 2)),
    ]

    apart, together = (loss_of(policy, tokens, length) for length in (1, 1000))

    assert apart == pytest.approx(together, rel=1e-4)
    assert apart["loss/grad_norm"] > 0
    single = [loss_of(policy, [one], 1000)["loss/train"] for one in tokens]
    weights = [2, 4, 1, 3]  # a mean of tokens
    mean = sum(loss * weight for loss, weight in zip(single, weights, strict=True)) / sum(weights)
    assert together["loss/train"] == pytest.approx(mean, rel=1e-4)


def test_a_deciding_token_counts_as_much_as_the_weight_says(policy: Policy) -> None:
    """Of four tokens: the second alone, then the first two, and so on."""
    answer = (5230, 198, 7, 2)
    means = [loss_of(policy, [AnswerTokens((1, 355), answer[:n])], 100)["loss/train"]
             for n in (1, 2, 3, 4)]  # fmt: skip
    sums = [0.0, *(mean * n for n, mean in enumerate(means, start=1))]
    losses = [after - before for before, after in pairwise(sums)]

    weighted = loss_of(policy, [AnswerTokens((1, 355), answer, (1, 2))], 100, weight=4.0)

    expected = (losses[0] + 4 * losses[1] + losses[2] + losses[3]) / 7
    assert weighted["loss/train"] == pytest.approx(expected, rel=1e-3)
