"""What changes from step to step: learning rate, row length, estimated tokens."""

from __future__ import annotations

from collections.abc import Iterable

from babylon_tasks.dataset.training_defaults import TrainingValues
from babylon_tasks.records import Member
from babylon_tasks.settings import Settings

_CHARACTERS_PER_TOKEN = 4  # of English prose; a rough estimate for all tokenisers in use
_ROW = 512
_LEAST_AFTER_REFUSALS = 1 / 16


def learning_rate(
    depth: int,
    informative: float,
    values: TrainingValues,
    settings: Settings,
    *,
    refused: int = 0,
) -> float:
    """Compute the rate for a step: it rises, falls linearly, then stays constant.

    ``depth`` is the number of training steps between the base model and the step's parent,
    ``values`` have the first and the final rate.
    ``informative`` is the share of the windows' trajectories, in (0, 1], that are in groups that
    teach. ART scales advantages to the same size however few there are, so without this factor a
    window in which all but one answer earned the same would move the weights as far as a full
    one: measured, that is what makes a converged policy diverge.
    ``learning_rate_spread_power`` 0 disables it.
    ``refused`` counts the steps from the same parent that were refused for the harm that they did:
    each halves the rate, down to a sixteenth.
    """
    share = min(depth / settings.learning_rate_decay_steps, 1.0)
    rate = values.learning_rate + share * (values.final_learning_rate - values.learning_rate)
    if settings.learning_rate_warmup_steps:
        # Momentum carries the first, coherent gradients too far: lost diversity does not come back.
        rate *= min(1.0, (depth + 2) / settings.learning_rate_warmup_steps)
    rate *= max(_LEAST_AFTER_REFUSALS, 0.5**refused)
    return float(rate * informative**settings.learning_rate_spread_power)


def row_length(longest: int, maximum: int) -> int:
    """Choose the length of packed rows for a step's longest call, in tokens; 0: not known.

    Attention costs the square of it, so the smallest sufficient power of two, but at least a length
    in which several short calls fit.
    """
    if longest == 0:
        return maximum
    return min(maximum, max(_ROW, 1 << (longest - 1).bit_length()))


def estimated_tokens(members: Iterable[Member]) -> int:
    """Estimate how many tokens a trainer reads for these members, prompts included."""
    total = 0
    for member in members:
        for call in member.calls:
            total += text_tokens(content for _, content in call.messages)
            total += len(call.logprobs) if call.logprobs else text_tokens([call.response])
    return total


def text_tokens(texts: Iterable[str]) -> int:
    """Estimate the tokens of texts that are read one after the other."""
    return sum(map(len, texts)) // _CHARACTERS_PER_TOKEN + 1
