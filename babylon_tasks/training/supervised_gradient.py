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
) -> dict[str, float]:
    """Make the batch's answers likelier; returns loss, norm and entropy, under ART's names.

    The loss is the mean of all trained tokens: a long answer counts for more than a short one.
    Packed rows have at most ``row_length`` tokens, or one answer.
    """
    trained = sum(len(one.answer) for one in batch.answers)
    loss = entropy = 0.0
    with policy.training():
        for group in optimizer.param_groups:
            group["lr"] = batch.learning_rate
        optimizer.zero_grad(set_to_none=True)  # an interrupted backward pass leaves some
        for row in _rows(batch.answers, row_length):
            logprobs, entropies = policy.row_logprobs(*_packed(row))
            part = -logprobs.sum() / trained
            part.backward()  # type: ignore[no-untyped-call]
            loss += float(part.detach())
            entropy += float(entropies.sum()) / trained
        norm = torch.nn.utils.clip_grad_norm_(policy.trained_parameters(), _MAX_GRAD_NORM)
        optimizer.step()
    return {"loss/train": loss, "loss/grad_norm": float(norm), "loss/entropy": entropy}


def _rows(answers: Sequence[AnswerTokens], row_length: int) -> Iterator[list[AnswerTokens]]:
    row: list[AnswerTokens] = []
    for one in answers:
        if row and sum(each.length for each in row) + one.length > row_length:
            yield row
            row = []
        row.append(one)
    yield row


def _packed(row: Sequence[AnswerTokens]) -> tuple[torch.Tensor, ...]:
    """Pack answers, each a conversation of its own, for ``Policy.row_logprobs``."""
    conversations = torch.tensor([n for n, one in enumerate(row) for _ in range(one.length)])
    return (
        torch.tensor([token for one in row for token in (*one.prompt, *one.answer)]),
        torch.tensor([place for one in row for place in range(one.length)]),
        conversations,
        conversations,
        torch.tensor([place >= len(one.prompt) for one in row for place in range(one.length)]),
    )
