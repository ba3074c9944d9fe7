"""Answers of 300 tokens to prompts of 1,200: each is trained on whole, or refused by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from recorded import AS_BASE, call, group, groups_file

from babylon_tasks.records import Group, LlmCall
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.protocol import InspectRequest
from babylon_tasks.training.supervisor import Trainer

ROW = 2048
ANSWER = 300


def long_call(policy: Policy, words: int, seed: int) -> LlmCall:
    """A call with a prompt of about so many tokens; each word is one."""
    draw = random.Random(seed)
    tokens = policy.tokenizer.encode(" and" + " market price share" * 99, add_special_tokens=False)
    ids = tuple(draw.choice(tokens) for _ in range(ANSWER))
    return call(
        policy.token_text.text(policy.token_text.spell(ids)),
        question=" ".join(draw.choice(["market", "price", "share"]) for _ in range(words)),
        token_ids=ids,
        logprobs=(AS_BASE,) * ANSWER,
    )


def long_group(policy: Policy, words: int, key: str) -> Group:
    return group([(long_call(policy, words, n), float(n % 2)) for n in range(4)], key)


def test_what_fits_into_a_row_is_trained_on_to_the_last_token_and_what_does_not_is_refused(
    policy: Policy, trainer: Trainer, train: Callable[..., StepResult], tmp_path: Path
) -> None:
    fitting = [long_group(policy, 1150, "a"), long_group(policy, 1150, "b")]
    too_long = long_group(policy, ROW - ANSWER, "c")

    path = groups_file(tmp_path, [*fitting, too_long])
    found = trainer.inspect(InspectRequest(path, ROW))
    trained = train(fitting, packed_sequence_length=ROW)

    assert {(one.trajectory_id, one.reason) for one in found.refusals} == {
        (member.trajectory_id, "too_long") for member in too_long.members
    }
    assert all(weight.longest > 1150 + ANSWER for weight in found.weights[:2])
    assert trained.trainable_tokens == 8 * ANSWER
    assert trained.gradient_steps == 8  # of 1,500 tokens, one fits into a row
