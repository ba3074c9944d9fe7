"""How far the policy in training is from the one that answered, token by token.

Measured before each gradient step, from the log-probabilities that its loss needs anyway. Ratio,
clipping and the share that is clipped are those of ART's loss on tokens; the KL estimate is k3,
r - 1 - ln r (Schulman, http://joschu.net/blog/kl-approx.html), which prime-rl calls mismatch_kl:
its mean over tokens that the old policy sampled is the KL divergence of the new policy from it,
without a bias, and no term is negative. The effective sample size is Kish's, as a share of the
tokens, as verl has it (rollout_is_eff_sample_size).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from msgspec import Struct

from babylon_tasks import step_metrics
from babylon_tasks.errors import TrainingError

# As ART 0.5.23 and verl bound the logarithm of a ratio: e^20 is 5e8, and its square still finite.
_LARGEST_LOG_RATIO = 20.0
# A gradient step over fewer tokens is not refused by itself: one of them may exceed any bound.
LEAST_TOKENS = 64


class RatioFigures(Struct, frozen=True):
    """Sums over ``tokens`` whose log-probabilities under both policies are known."""

    tokens: int = 0
    ratios: float = 0.0
    squares: float = 0.0
    divergence: float = 0.0
    clipped: int = 0
    largest: float = 0.0

    def __add__(self, other: RatioFigures) -> RatioFigures:
        return RatioFigures(
            self.tokens + other.tokens,
            self.ratios + other.ratios,
            self.squares + other.squares,
            self.divergence + other.divergence,
            self.clipped + other.clipped,
            max(self.largest, other.largest),
        )

    @property
    def mismatch_kl(self) -> float:
        """The estimated KL, in nats per token; 0 without a token."""
        return self.divergence / self.tokens if self.tokens else 0.0

    def metrics(self) -> dict[str, float]:
        """Name the figures; none where no token's log-probability was recorded."""
        if not self.tokens:
            return {}
        return {
            step_metrics.RATIO_MEAN: self.ratios / self.tokens,
            step_metrics.RATIO_MAX: self.largest,
            step_metrics.CLIPPED_SHARE: self.clipped / self.tokens,
            step_metrics.MISMATCH_KL: self.mismatch_kl,
            step_metrics.SAMPLE_SHARE: self.ratios**2 / (self.tokens * self.squares),
        }


def compare(current: torch.Tensor, recorded: torch.Tensor, low: float, high: float) -> RatioFigures:
    """Compare two rows of log-probabilities; a token that has none recorded (NaN) is left out.

    A ratio outside ``low`` to ``high`` counts as clipped.
    """
    known = ~torch.isnan(recorded)
    logarithm = current.detach()[known].double() - recorded[known].double()
    logarithm = logarithm.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)
    if not len(logarithm):
        return RatioFigures()
    ratio = logarithm.exp()
    return RatioFigures(
        tokens=len(ratio),
        ratios=float(ratio.sum()),
        squares=float(ratio.square().sum()),
        divergence=float((logarithm.expm1() - logarithm).sum()),
        clipped=int(((ratio < low) | (ratio > high)).sum()),
        largest=float(ratio.max()),
    )


def clip_range(config: Any) -> tuple[float, float]:
    """Return the ratios between which ART's loss (``art.loss``) leaves one as it is.

    Without PPO it is CISPO's range, from 0 to 5. A cap on the ratio counts, too.
    """
    ppo = config.get("ppo", False)
    epsilon = config.get("epsilon", 0.2 if ppo else 1.0)
    high = config.get("epsilon_high", None if ppo else 4.0)
    high = 1 + (epsilon if high is None else high)
    cap = config.get("max_negative_advantage_importance_sampling_weight") or math.inf
    return 1 - epsilon, min(high, cap)


class StepRatios:
    """The ratios of one training step; refuses to go on where they have exploded."""

    def __init__(self, max_mismatch_kl: float | None) -> None:
        self.total = RatioFigures()
        self._most = max_mismatch_kl
        self._largest = 0.0  # KL that was compared with the bound
        self._gradient_steps = 0

    def add(self, current: torch.Tensor, recorded: torch.Tensor, config: Any) -> None:
        """Count a row of the next gradient step; raises TrainingError before that is taken.

        One of few tokens counts only with the whole step, in ``end``.
        """
        row = compare(current, recorded, *clip_range(config))
        self.total += row
        if row.tokens >= LEAST_TOKENS:
            self._check(row, f"before gradient step {self._gradient_steps + 1}")

    def taken(self) -> None:
        """Count a gradient step."""
        self._gradient_steps += 1

    def end(self) -> None:
        """Compare the whole step with the bound, before it is written; raises TrainingError."""
        self._check(self.total, "over the whole step")

    def _check(self, figures: RatioFigures, when: str) -> None:
        self._largest = max(self._largest, figures.mismatch_kl)
        if self._most is not None and figures.mismatch_kl > self._most:
            raise TrainingError(
                f"the importance ratios exploded {when}: the policy in training is "
                f"{figures.mismatch_kl:.3g} nats per token from the one that answered, "
                f"over {figures.tokens} tokens (BABYLON_MAX_MISMATCH_KL={self._most:g}; "
                f"{step_metrics.in_short(figures.metrics())}); no checkpoint was written. "
                f"{_OF_ANOTHER_POLICY}{_OR_WENT_TOO_FAR if self._gradient_steps else ''}"
            )

    def metrics(self) -> dict[str, float]:
        """Name the figures of the step; none where no token's log-probability was recorded."""
        found = self.total.metrics()
        return found and {**found, step_metrics.LARGEST_MISMATCH_KL: self._largest}


_OF_ANOTHER_POLICY = (
    "The log-probabilities were recorded under another policy or at another temperature than the "
    "call says, or the calls are too old (BABYLON_MAX_STALENESS_STEPS)"
)
_OR_WENT_TOO_FAR = (
    "; or the gradient steps before it went too far: if it happens again, lower "
    "BABYLON_LEARNING_RATE"
)
