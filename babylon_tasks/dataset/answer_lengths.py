"""Rewards and lengths of a step's answers: whether what pays is long. PURE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import StatisticsError, correlation, fmean, pstdev

from babylon_tasks import step_metrics
from babylon_tasks.records import Group, Member


def answer_figures(groups: Sequence[Group]) -> dict[str, float]:
    """Describe the rewards and the lengths of answers that a step learns from.

    Rewards and lengths are compared with their means in the group, as GRPO compares them: between
    groups a longer question has longer answers. A length is that of all answers of a trajectory,
    in tokens; one that is not known is left out. What cannot be computed is absent.
    """
    rewards = [member.reward for group in groups for member in group.members]
    if not rewards:
        return {}
    figures = {
        step_metrics.REWARD: fmean(rewards),
        # As ART has it: the mean of the groups' standard deviations.
        step_metrics.REWARD_DEVIATION: _mean(
            [pstdev([one.reward for one in group.members]) for group in groups if group.members]
        ),
    }
    lengths, above, differences = [], [], []
    for group in groups:
        known = [(one.reward, length) for one in group.members if (length := _tokens(one))]
        if not known:
            continue
        reward, typical = fmean(r for r, _ in known), fmean(length for _, length in known)
        lengths += [float(length) for _, length in known]
        above += [r - reward for r, _ in known]
        differences += [length - typical for _, length in known]
    figures |= {
        step_metrics.ANSWER_TOKENS: _mean(lengths),
        step_metrics.BETTER_ANSWER_TOKENS: _mean(
            [length for length, gain in zip(lengths, above, strict=True) if gain > 0]
        ),
        step_metrics.WORSE_ANSWER_TOKENS: _mean(
            [length for length, gain in zip(lengths, above, strict=True) if gain < 0]
        ),
        step_metrics.LENGTH_CORRELATION: _correlation(above, differences),
    }
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def supervised_figures(groups: Sequence[Group], learning_rate: float) -> dict[str, float]:
    """Describe what a supervised step learns from: it compares nothing, so no reward and no ratio.

    The lengths are those that were recorded, by the tokenizer of whoever answered.
    """
    members = [member for group in groups for member in group.members]
    known = [float(length) for one in members if (length := _tokens(one))]
    lengths = {step_metrics.ANSWER_TOKENS: fmean(known)} if known else {}
    return {step_metrics.LEARNING_RATE: learning_rate, **lengths}


def _tokens(member: Member) -> int | None:
    counts = [
        call.completion_tokens if call.token_ids is None else len(call.token_ids)
        for call in member.calls
    ]
    return sum(count for count in counts if count) if all(counts) else None


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else math.nan


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    try:
        return correlation(one, other)
    except StatisticsError:  # fewer than two, or all equal
        return math.nan
