"""What a policy is worth on recorded, held-out groups, by teacher forcing: no sampling noise.

For one prompt with recorded answers y and their rewards r(y), the value of a policy is
``sum p(y) r(y) + (1 - sum p(y)) * floor`` over the distinct answers: its expected reward if
every answer nobody ever gave earned the group's lowest reward. That is the direct method of
off-policy evaluation (Dudik et al., 2011) with the most pessimistic model of unseen answers:
it needs no behaviour probabilities, and neither gibberish nor one constant answer can look good.
``coverage`` is ``sum p(y)``: near zero (long free text), the value says little.
``entropy`` is that of the same distribution, all unseen answers being one: a policy that has
settled on one answer has none left, and can learn nothing more from what it does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from babylon_tasks.records import Group, LlmCall
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.protocol import StepValue

_ROW_TOKENS = 1024


def step_value(policy: Policy, step: int, groups: Sequence[Group]) -> StepValue:
    """Value, coverage and entropy of one checkpoint on each group; raises FileNotFoundError."""
    found = [_group_value(policy, step, group) for group in groups]
    values, coverage, entropy = zip(*found, strict=True) if found else ((), (), ())
    return StepValue(step=step, values=values, coverage=coverage, entropy=entropy)


def _group_value(policy: Policy, step: int, group: Group) -> tuple[float, float, float]:
    floor = min(member.reward for member in group.members)
    # Members that saw the same prompts are alternatives of each other; others are not.
    situations: dict[tuple[tuple[tuple[str, str], ...], ...], list[int]] = {}
    for index, member in enumerate(group.members):
        situations.setdefault(tuple(call.messages for call in member.calls), []).append(index)
    logprobs = _answer_logprobs(policy, step, group)
    value = coverage = entropy = 0.0
    for indices in situations.values():
        rewards: dict[tuple[object, ...], list[float]] = {}
        chances: dict[tuple[object, ...], float] = {}
        for index in indices:
            member = group.members[index]
            answer = tuple(call.token_ids or call.response for call in member.calls)
            rewards.setdefault(answer, []).append(member.reward)
            chances[answer] = math.exp(logprobs[index])
        total = sum(chances.values())
        covered = min(1.0, total)
        # An answer cut short at its limit has the chance of all that begins with it, so together
        # they may exceed 1.
        expected = sum(
            chance / max(1.0, total) * sum(rewards[answer]) / len(rewards[answer])
            for answer, chance in chances.items()
        )
        share = len(indices) / len(group.members)
        value += share * (expected + (1 - covered) * floor)
        coverage += share * covered
        entropy -= share * sum(p * math.log(p) for p in (*chances.values(), 1 - covered) if p > 0)
    return value, coverage, entropy


def _answer_logprobs(policy: Policy, step: int, group: Group) -> list[float]:
    """Log-probability of each member's answers, summed over its calls."""
    totals = [0.0] * len(group.members)
    by_prompt: dict[tuple[tuple[str, str], ...], list[tuple[int, list[int]]]] = {}
    for index, member in enumerate(group.members):
        for call in member.calls:
            by_prompt.setdefault(call.messages, []).append((index, _answer_ids(policy, call)))
    for messages, answers in by_prompt.items():
        prompt: list[int] = policy.tokenizer.apply_chat_template(
            [{"role": role, "content": text} for role, text in messages],
            add_generation_prompt=True,
        )["input_ids"]
        distinct = sorted({tuple(ids) for _, ids in answers})
        found: dict[tuple[int, ...], float] = {}
        row: list[tuple[int, ...]] = []
        size = len(prompt)
        for ids in distinct:  # the prompt is computed once a row
            if row and size + len(ids) > _ROW_TOKENS:
                found.update(_row(policy, step, prompt, row))
                row, size = [], len(prompt)
            row.append(ids)
            size += len(ids)
        found.update(_row(policy, step, prompt, row))
        for index, answer in answers:
            totals[index] += found[tuple(answer)]
    return totals


def _answer_ids(policy: Policy, call: LlmCall) -> list[int]:
    if call.token_ids is not None:
        return list(call.token_ids)
    ids: list[int] = policy.tokenizer.encode(call.response, add_special_tokens=False)
    return [*ids, policy.tokenizer.eos_token_id]


def _row(
    policy: Policy, step: int, prompt: list[int], answers: list[tuple[int, ...]]
) -> dict[tuple[int, ...], float]:
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
    sums, start = {}, 0
    for ids in answers:
        sums[ids] = float(logprobs[start : start + len(ids)].sum())
        start += len(ids)
    return sums
