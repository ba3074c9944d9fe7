"""Compute log-probabilities of answers with known tokens, under checkpoints on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from msgspec import structs

from babylon_tasks.records import LlmCall, TokenIds
from babylon_tasks.training.inspect_calls import InspectedCall
from babylon_tasks.training.policy import Policy

# Each pass reads all weights, which costs as much as a few hundred tokens; what a token attends to
# grows with the row.
ROW_TOKENS = 1024

Logprobs = tuple[float, ...]
PromptAnswer = tuple[TokenIds, TokenIds]  # a prompt and an answer


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
    wanted: dict[int, set[PromptAnswer]] = {}
    for proof in proofs:
        pair = (proof.prompt, proof.call.token_ids or ())
        wanted.setdefault(checkpoint_of(proof.call), set()).add(pair)
    prompts = sum(len({prompt for prompt, _ in each}) for each in wanted.values())
    logprobs: dict[int, dict[PromptAnswer, Logprobs]] = {}
    done = 0
    for step, pairs in sorted(wanted.items()):  # each checkpoint is loaded once
        found = logprobs.setdefault(step, {})
        for some in answer_logprobs(policy, step, pairs):
            found.update(some)
            on_prompt(done + len({prompt for prompt, _ in found}), prompts)
        done += len({prompt for prompt, _ in found})
    return [
        structs.replace(
            proof.call,
            logprobs=logprobs[checkpoint_of(proof.call)][proof.prompt, proof.call.token_ids or ()],
        )
        for proof in proofs
    ]


def answer_logprobs(
    policy: Policy, step: int, pairs: Iterable[PromptAnswer]
) -> Iterator[dict[PromptAnswer, Logprobs]]:
    """Compute the log-probability of each token of each distinct answer, a row after the other.

    Prompts that fit are computed in one row, each once for its answers.
    """
    row: list[PromptAnswer] = []
    size = 0
    for prompt, answer in sorted(set(pairs)):
        more = len(answer) + (0 if row and row[-1][0] == prompt else len(prompt))
        if row and size + more > ROW_TOKENS:
            yield _row(policy, step, row)
            row, size, more = [], 0, len(answer) + len(prompt)
        row.append((prompt, answer))
        size += more
    if row:
        yield _row(policy, step, row)


def _row(policy: Policy, step: int, pairs: Sequence[PromptAnswer]) -> dict[PromptAnswer, Logprobs]:
    tokens: list[int] = []
    positions: list[int] = []
    branches: list[int] = []
    parents: list[int] = []
    wanted: list[bool] = []

    def add(ids: TokenIds, start: int, branch: int, parent: int) -> None:
        tokens.extend(ids)
        positions.extend(range(start, start + len(ids)))
        branches.extend([branch] * len(ids))
        parents.extend([parent] * len(ids))
        wanted.extend([branch != parent] * len(ids))

    branch = parent = -1
    before: TokenIds | None = None
    for prompt, answer in pairs:
        if prompt != before:
            branch = parent = branch + 1
            add(prompt, 0, parent, parent)
            before = prompt
        branch += 1
        add(answer, len(prompt), branch, parent)
    with policy.at_step(step):
        logprobs, _ = policy.row_logprobs(
            *(torch.tensor(column) for column in (tokens, positions, branches, parents, wanted))
        )
    found, start, values = {}, 0, logprobs.tolist()
    for prompt, answer in pairs:
        found[prompt, answer] = tuple(values[start : start + len(answer)])
        start += len(answer)
    return found
