"""The figures of a step: what each is, who calls it so, and what else it is sent as.

``docs/art.md`` is made from this file by `make docs`.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from babylon_tasks import step_metrics


class Figure(Struct, frozen=True):
    """A figure of a step: its ``name``, the other names that it is ``sent`` by, and what it is.

    ``source``: who calls it so; empty where the name is ours.
    """

    name: str
    text: str
    source: str = ""
    sent: tuple[str, ...] = ()


# By every backend whose ART or service reports them; on cpu all of them, on the others those that
# come from ours or from there. What is not reported is absent.
FIGURES = (
    Figure(
        step_metrics.RATIO_MEAN,
        "mean ratio of the policy in training to the one that answered; about 1",
        "ART 0.5.23",
        ("importance_ratio_mean",),
    ),
    Figure(
        step_metrics.RATIO_MAX,
        "the largest of these ratios, at most e^20",
        "TRL, verl: max",
    ),
    Figure(
        step_metrics.CLIPPED_SHARE,
        "share of tokens whose ratio ART's loss clips",
        "ART 0.5.23",
        ("clipped_token_fraction",),
    ),
    Figure(
        step_metrics.MISMATCH_KL,
        "KL divergence from the policy that answered, k3, in nats per token",
        "prime-rl",
    ),
    Figure(
        step_metrics.LARGEST_MISMATCH_KL,
        "the same over the step, or before that gradient step of 64 tokens or more where it is "
        "largest; BABYLON_MAX_MISMATCH_KL bounds it",
    ),
    Figure(
        step_metrics.SAMPLE_SHARE,
        "effective sample size, as a share of the tokens",
        "verl: rollout_is_eff_sample_size",
    ),
    Figure(step_metrics.ENTROPY, "entropy of the policy, in nats per token", "ART", ("entropy",)),
    Figure(step_metrics.LEARNING_RATE, "learning rate of the step", "ART", ("learning_rate",)),
    Figure(step_metrics.REWARD, "mean reward", "ART 0.5.23", ("reward",)),
    Figure(
        step_metrics.REWARD_DEVIATION,
        "mean of the groups' standard deviations of reward",
        "ART 0.5.23",
        ("reward_std_dev",),
    ),
    Figure(step_metrics.ANSWER_TOKENS, "mean length of a trajectory's answers, in tokens"),
    Figure(step_metrics.BETTER_ANSWER_TOKENS, "the same of those above their group's mean reward"),
    Figure(step_metrics.WORSE_ANSWER_TOKENS, "the same of those below it"),
    Figure(
        step_metrics.LENGTH_CORRELATION,
        "correlation of reward and length inside the groups, from -1 to 1",
    ),
)
_ONE_NAME = {sent: figure.name for figure in FIGURES for sent in figure.sent}


def under_one_name(metrics: Mapping[str, float]) -> dict[str, float]:
    """Name the figures of a step as ours are, whichever release of ART sends them."""
    return {_ONE_NAME.get(name, name): float(value) for name, value in metrics.items()}
