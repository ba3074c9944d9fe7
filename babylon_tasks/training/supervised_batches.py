"""The gradient steps of a supervised step: which answers, in which order, at which rate. PURE."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from babylon_tasks.step_records import SupervisedConfig

A = TypeVar("A")


class AnswerBatch(Struct, Generic[A], frozen=True):
    """The answers of one gradient step, and its learning rate."""

    answers: tuple[A, ...]
    learning_rate: float


def batches(
    answers: Sequence[A],
    config: SupervisedConfig,
    *,
    learning_rate: float,
    seed: int,
    alike: Callable[[A], Hashable] | None = None,
) -> list[AnswerBatch[A]]:
    """Divide the answers into gradient steps: all of them once in each epoch, shuffled by the seed.

    The last one of an epoch takes what is left. Answers that are ``alike`` stay together, as far as
    they fill half of a gradient step: where that is the prompt, it is computed once for them.
    """
    shuffle = random.Random(seed)
    size = config.calls_per_gradient_step
    blocks = _blocks(answers, alike, max(1, size // 2))
    made: list[AnswerBatch[A]] = []
    for _ in range(config.epochs):
        shuffle.shuffle(blocks)
        order = [one for block in blocks for one in block]
        for first in range(0, len(order), size):
            risen = min(1.0, (len(made) + 1) / max(config.warmup_gradient_steps, 1))
            made.append(AnswerBatch(tuple(order[first : first + size]), learning_rate * risen))
    return made


def _blocks(
    answers: Sequence[A], alike: Callable[[A], Hashable] | None, most: int
) -> list[list[A]]:
    if alike is None:
        return [[one] for one in answers]
    by: dict[Hashable, list[A]] = {}
    for one in answers:
        by.setdefault(alike(one), []).append(one)
    return [
        same[first : first + most] for same in by.values() for first in range(0, len(same), most)
    ]
