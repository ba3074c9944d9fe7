"""The figures of a training step by name: in its row, in ART's history and at W&B. PURE.

A name that a release of ART has is ART's; the others are of the sections that ART's history knows.
``training/step_figures.py`` says where each comes from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

LOSS = "loss/train"
ENTROPY = "loss/entropy"
RATIO_MEAN = "loss/importance_ratio_mean"
RATIO_MAX = "loss/importance_ratio_max"
CLIPPED_SHARE = "loss/clipped_token_fraction"
MISMATCH_KL = "offpolicy/mismatch_kl"
LARGEST_MISMATCH_KL = "offpolicy/mismatch_kl_max"
SAMPLE_SHARE = "offpolicy/eff_sample_size"
REWARD = "train/reward"
REWARD_DEVIATION = "train/reward_std_dev"
LENGTH_CORRELATION = "data/reward_length_correlation"
ANSWER_TOKENS = "data/answer_tokens"
BETTER_ANSWER_TOKENS = "data/answer_tokens_better"
WORSE_ANSWER_TOKENS = "data/answer_tokens_worse"
LEARNING_RATE = "loss/learning_rate"
# Of steps at W&B: whether the weights have moved, by how much, and the noise of that, in nats.
PROVEN = "policy/proven"
MOVED = "policy/moved"
NOISE = "policy/noise"


def least_mismatch_kl(metrics: Mapping[str, float]) -> float | None:
    """Return the KL to the policy that answered, in nats per token, or the least that it can be.

    Where only the mean ratio is reported: the estimate r - 1 - ln r is convex in r, so that its
    mean is no less than its value at the mean ratio (Jensen). None where neither is reported.
    """
    known = metrics.get(LARGEST_MISMATCH_KL, metrics.get(MISMATCH_KL))
    if known is not None:
        return known
    mean = metrics.get(RATIO_MEAN)
    if mean is None:
        return None
    return mean - 1 - math.log(mean) if mean > 0 else math.inf


def supervised_in_short(metrics: Mapping[str, object]) -> str:
    """Describe a supervised step for people: what it has instead of ratios and rewards."""
    return _listed(
        metrics,
        ("loss", LOSS, "{:.2f}"),
        ("entropy", ENTROPY, "{:.2f}"),
        ("learning rate", LEARNING_RATE, "{:.2g}"),
        ("tokens of an answer", ANSWER_TOKENS, "{:.0f}"),
    )


def in_short(metrics: Mapping[str, object]) -> str:
    """Describe the ratios of a step for people; empty where the backend reports none."""
    return _listed(
        metrics,
        ("importance ratio", RATIO_MEAN, "{:.2f}"),
        ("at most", RATIO_MAX, "{:.3g}"),
        ("clipped", CLIPPED_SHARE, "{:.1%}"),
        ("KL to the policy that answered", MISMATCH_KL, "{:.3g}"),
        ("at most", LARGEST_MISMATCH_KL, "{:.3g}"),
        ("effective sample", SAMPLE_SHARE, "{:.0%}"),
        ("entropy", ENTROPY, "{:.2f}"),
        ("reward and length correlate", LENGTH_CORRELATION, "{:+.2f}"),
    )


def _listed(metrics: Mapping[str, object], *parts: tuple[str, str, str]) -> str:
    found = ((text, metrics.get(name), form) for text, name, form in parts)
    return ", ".join(
        f"{text} {form.format(value)}" for text, value, form in found if isinstance(value, float)
    )


def moved_in_short(metrics: Mapping[str, float], *, counts: bool) -> str:
    """Describe the proof that the weights have moved; empty where files are the proof.

    ``counts``: the step does, although the proof failed.
    """
    if PROVEN not in metrics:
        return ""
    if MOVED not in metrics:
        return "whether the policy moved could not be measured in time"
    hidden = ", which hides it" if counts and not metrics[PROVEN] else ""
    noise = f"with a noise of {metrics[NOISE]:.1e}{hidden}"
    return f"the policy moved by {metrics[MOVED]:.1e} nats, {noise}"
