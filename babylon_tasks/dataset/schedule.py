"""What changes from step to step: the learning rate; and what a group costs."""

from __future__ import annotations

from collections.abc import Iterable

from babylon_tasks.records import Group
from babylon_tasks.settings import Settings

_CHARACTERS_PER_TOKEN = 4  # of English prose, for every tokeniser in use: an estimate, no more


def learning_rate(step: int, settings: Settings) -> float:
    """The rate for the step that starts from ``step``: linear, then constant at its final value."""
    share = min(step / settings.learning_rate_decay_steps, 1.0)
    return settings.learning_rate + share * (settings.final_learning_rate - settings.learning_rate)


def estimated_tokens(groups: Iterable[Group]) -> int:
    """About how many tokens a trainer reads for these groups, prompts included."""
    total = 0
    for group in groups:
        for member in group.members:
            for call in member.calls:
                characters = sum(len(content) for _, content in call.messages)
                total += characters // _CHARACTERS_PER_TOKEN + 1
                total += (
                    len(call.logprobs)
                    if call.logprobs
                    else len(call.response) // _CHARACTERS_PER_TOKEN + 1
                )
    return total
