"""One gradient step on recorded answers, of the ``cpu`` backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from babylon_tasks.training.answer_tokens import AnswerTokens
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.supervised_batches import AnswerBatch

_MAX_GRAD_NORM = 1.0  # as ART's own supervised steps


def supervised_gradient(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    batch: AnswerBatch[AnswerTokens],
    row_length: int,
    decision_weight: float = 1.0,
) -> dict[str, float]:
    """Make the batch's answers likelier; returns loss, norm and entropy, under ART's names.

    The loss is the mean of all trained tokens: a long answer counts for more than a short one, and
    a deciding token as much as ``decision_weight`` others. Packed rows have at most ``row_length``
    tokens, or one answer.
    """
    trained = sum(len(one.answer) for one in batch.answers)
    total = sum(sum(one.weights(decision_weight)) for one in batch.answers)
    loss = entropy = 0.0
    with policy.training():
        for group in optimizer.param_groups:
            group["lr"] = batch.learning_rate
        optimizer.zero_grad(set_to_none=True)  # an interrupted backward pass leaves some
        for row in _rows(batch.answers, row_length):
            logprobs, entropies = policy.row_logprobs(*_packed(row))
            weights = [weight for one in row for weight in one.weights(decision_weight)]
            part = -(logprobs * torch.tensor(weights)).sum() / total
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
            entropy += float(entropies.sum()) / trained
        norm = torch.nn.utils.clip_grad_norm_(policy.trained_parameters(), _MAX_GRAD_NORM)
        optimizer.step()
    return {"loss/train": loss, "loss/grad_norm": float(norm), "loss/entropy": entropy}


def _rows(answers: Sequence[AnswerTokens], row_length: int) -> Iterator[list[AnswerTokens]]:
    """Divide them into rows; those with the same prompt follow each other."""
    order = sorted(answers, key=lambda one: one.prompt)
    row: list[AnswerTokens] = []
    for one in order:
        if row and _length([*row, one]) > row_length:
            yield row
            row = []
        row.append(one)
    yield row


def _length(row: Sequence[AnswerTokens]) -> int:
    prompts = {one.prompt for one in row}
    return sum(map(len, prompts)) + sum(len(one.answer) for one in row)


def _packed(row: Sequence[AnswerTokens]) -> tuple[torch.Tensor, ...]:
    """Pack answers for ``Policy.row_logprobs``, each behind its prompt; equal prompts once."""
    tokens: list[int] = []
    places: list[int] = []
    groups: list[int] = []
    parents: list[int] = []
    wanted: list[bool] = []

    def add(part: Sequence[int], place: int, group: int, parent: int, *, trained: bool) -> None:
        tokens.extend(part)
        places.extend(range(place, place + len(part)))
        groups.extend([group] * len(part))
        parents.extend([parent] * len(part))
        wanted.extend([trained] * len(part))

    shared, count = -1, 0
    for number, one in enumerate(row):
        if number == 0 or one.prompt != row[number - 1].prompt:
            shared, count = count, count + 1
            add(one.prompt, 0, shared, shared, trained=False)
        add(one.answer, len(one.prompt), count, shared, trained=True)
        count += 1
    return tuple(torch.tensor(column) for column in (tokens, places, groups, parents, wanted))
