"""Compute log-probabilities of answers with known tokens, under checkpoints on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from msgspec import structs

from babylon_tasks.records import LlmCall, TokenIds
from babylon_tasks.training.inspect_calls import InspectedCall
from babylon_tasks.training.policy import Policy

_ROW_TOKENS = 1024


def rescored(
    policy: Policy,
    proofs: Sequence[InspectedCall],
    checkpoint_of: Callable[[LlmCall], int],
    on_prompt: Callable[[int, int], None] = lambda *_: None,
) -> list[LlmCall]:
    """Replace the calls' log-probabilities by those that a checkpoint gives their tokens, in order.

    ``checkpoint_of`` names the checkpoint of a call, ``on_prompt`` gets (prompts done, prompts in
    all). Raises FileNotFoundError where a checkpoint's weights are not on this machine.
    """
    wanted: dict[tuple[int, TokenIds], set[TokenIds]] = {}
    for proof in proofs:
        place = (checkpoint_of(proof.call), proof.prompt)
        wanted.setdefault(place, set()).add(proof.call.token_ids or ())
    logprobs = {}
    for (step, prompt), answers in sorted(wanted.items()):  # each checkpoint is loaded once
        logprobs[step, prompt] = answer_logprobs(policy, step, prompt, sorted(answers))
        on_prompt(len(logprobs), len(wanted))
    return [
        structs.replace(
            proof.call,
            logprobs=logprobs[checkpoint_of(proof.call), proof.prompt][proof.call.token_ids or ()],
        )
        for proof in proofs
    ]


def answer_logprobs(
    policy: Policy, step: int, prompt: Sequence[int], answers: Iterable[TokenIds]
) -> dict[TokenIds, tuple[float, ...]]:
    """Compute the log-probability of each token of each distinct answer to one prompt."""
    logprobs: dict[TokenIds, tuple[float, ...]] = {}
    row: list[TokenIds] = []
    size = len(prompt)
    for ids in answers:  # the prompt is computed once per row
        if row and size + len(ids) > _ROW_TOKENS:
            logprobs.update(_row(policy, step, prompt, row))
            row, size = [], len(prompt)
        row.append(ids)
        size += len(ids)
    if row:
        logprobs.update(_row(policy, step, prompt, row))
    return logprobs


def _row(
    policy: Policy, step: int, prompt: Sequence[int], answers: Sequence[TokenIds]
) -> dict[TokenIds, tuple[float, ...]]:
    tokens, positions = list(prompt), list(range(len(prompt)))
    groups, wanted = [0] * len(prompt), [False] * len(prompt)
    for branch, ids in enumerate(answers, start=1):
        tokens += ids
        positions += range(len(prompt), len(prompt) + len(ids))
        groups += [branch] * len(ids)
        wanted += [True] * len(ids)
    with policy.at_step(step):
        logprobs, _ = policy.row_logprobs(
            torch.tensor(tokens),
            torch.tensor(positions),
            torch.tensor(groups),
            torch.zeros(len(tokens), dtype=torch.long),
            torch.tensor(wanted),
        )
    found, start, values = {}, 0, logprobs.tolist()
    for ids in answers:
        found[ids] = tuple(values[start : start + len(ids)])
        start += len(ids)
    return found
