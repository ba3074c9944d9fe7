"""What ART has packed for a step: compared with what was sampled, and shared out over gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from babylon_tasks.errors import TrainingError
from babylon_tasks.records import TokenIds


def packed_answers(packed: Mapping[str, Any]) -> list[TokenIds]:
    """Collect the answers in ART's packed tensors: per row, the trained tokens of each branch."""
    answers: list[TokenIds] = []
    columns = ("tokens", "group_ids", "assistant_mask")
    for row in zip(*(packed[name].tolist() for name in columns), strict=True):
        branches: dict[int, list[int]] = {}
        for token, branch, trained in zip(*row, strict=True):
            if trained:
                branches.setdefault(branch, []).append(token)
        answers.extend(tuple(tokens) for tokens in branches.values())
    return answers


def sampled_answers(groups: Iterable[Any]) -> list[TokenIds]:
    """Collect the answers that ART should pack: of trajectories off their group's mean reward."""
    answers: list[TokenIds] = []
    for group in groups:
        mean = sum(trajectory.reward for trajectory in group) / len(group)
        for trajectory in group:
            if trajectory.reward - mean == 0:  # ART skips an advantage of 0
                continue
            others = [history.messages_and_choices for history in trajectory.additional_histories]
            for history in (trajectory.messages_and_choices, *others):
                content = history[-1].logprobs.content
                answers.append(tuple(int(one.token.removeprefix("token_id:")) for one in content))
    return answers


def require_as_sampled(packed: Mapping[str, Any], groups: Iterable[Any]) -> None:
    """Raise TrainingError unless ART has packed exactly the sampled answers."""
    have, want = Counter(packed_answers(packed)), Counter(sampled_answers(groups))
    if have != want:
        raise TrainingError(
            f"ART packed {(have - want).total()} answers that were not sampled and left out "
            f"{(want - have).total()} of {want.total()} that were; nothing was trained"
        )


def gradient_batches(tokens: Sequence[int]) -> list[list[int]]:
    """Choose the rows of each gradient step, by the number of trained tokens that each row has.

    ART fills one row after the other, so the last may have a single group. AdamW moves the weights
    as far for that as for a full one: it joins another row, and no step has fewer than half as many
    tokens as the fullest row.
    """
    least = max(tokens, default=0) / 2
    batches: list[list[int]] = []
    size = least
    for row, count in enumerate(tokens):
        if size >= least:
            batches.append([])
            size = 0
        batches[-1].append(row)
        size += count
    if len(batches) > 1 and size < least:
        last = batches.pop()
        batches[-1] += last
    return batches
