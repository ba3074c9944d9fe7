"""The gradient steps of a supervised step: which answers, in which order, at which rate. PURE."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from babylon_tasks.step_records import SupervisedConfig

A = TypeVar("A")


class AnswerBatch(Struct, Generic[A], frozen=True):
    """The answers of one gradient step, and its learning rate."""

    answers: tuple[A, ...]
    learning_rate: float


def batches(
    answers: Sequence[A], config: SupervisedConfig, *, learning_rate: float, seed: int
) -> list[AnswerBatch[A]]:
    """Divide the answers into gradient steps: all of them once in each epoch, shuffled by the seed.

    The last one of an epoch takes what is left.
    """
    shuffle = random.Random(seed)
    size = config.calls_per_gradient_step
    made: list[AnswerBatch[A]] = []
    for _ in range(config.epochs):
        order = list(answers)
        shuffle.shuffle(order)
        for first in range(0, len(order), size):
            risen = min(1.0, (len(made) + 1) / max(config.warmup_gradient_steps, 1))
            made.append(AnswerBatch(tuple(order[first : first + size]), learning_rate * risen))
    return made
