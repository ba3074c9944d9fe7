"""Evidence in one window against a statement about a mean, and what windows add up to.

An e-value is at most 1 on average while the statement is true, so a product of them, of whatever
length, reaches 20 with a probability of at most 1/20 (Ville). All are kept as natural logarithms,
one for each of ``EFFECTS``: nobody knows beforehand how large an effect will be.

With E[L] <= 1, R = (R + 1) L grows by at most 1 a window on average (Shiryaev-Roberts): it reaches
A after at least A windows on average. What is kept is log(1 + R), which begins at 0, not at -inf.
"""

from __future__ import annotations

from math import exp, log, log1p, sqrt

Logs = tuple[float, float, float, float]  # one for each of EFFECTS

EFFECTS: Logs = (0.015, 0.03, 0.06, 0.12)
ZERO: Logs = (0.0, 0.0, 0.0, 0.0)
_CLIP = 2.0  # standard deviations
_STAKE = 0.9  # of what there is, at most: a factor is in [0.1, 1.9]
_LARGEST = 100.0  # of log(1 + R): far beyond any threshold, and its exp is finite


def bet(difference: float, null: float, variance: float, sign: int) -> Logs:
    """Compute log e-values against "the mean is <= ``null``" (sign 1), or ">= ``null``" (-1).

    The difference is clipped about the null value. Clipped about 0, a mean beyond the bounds would
    look like one within them: 79 % false proofs were simulated where 5 % are meant.
    """
    bound = _CLIP * sqrt(variance)
    x = sign * min(bound, max(-bound, difference - null))
    most = _STAKE / bound
    a, b, c, d = EFFECTS
    return (
        log1p(min(a / variance, most) * x),
        log1p(min(b / variance, most) * x),
        log1p(min(c / variance, most) * x),
        log1p(min(d / variance, most) * x),
    )


def fall(difference: float, null: float, variance: float) -> Logs:
    """Compute log e-values against "the mean is >= ``null``", for noise that is sub-Gaussian.

    Unlike a bet's they have no upper bound: one window can be enough.
    """
    x = (null - difference) / variance
    a, b, c, d = EFFECTS
    half = 0.5 / variance
    return (a * x - a * a * half, b * x - b * b * half, c * x - c * c * half, d * x - d * d * half)


def multiply(product: Logs, factor: Logs) -> Logs:
    """Add the logarithms."""
    (a, b, c, d), (e, f, g, h) = product, factor
    return (a + e, b + f, c + g, d + h)


def restart(state: Logs, factor: Logs) -> Logs:
    """Compute log(1 + R) from the one before: R = (R + 1) L."""
    (a, b, c, d), (e, f, g, h) = state, factor
    return (_log_plus_one(a + e), _log_plus_one(b + f), _log_plus_one(c + g), _log_plus_one(d + h))


def log_mean(logs: Logs) -> float:
    """Compute the logarithm of the mean: an average of e-values is an e-value."""
    most = max(logs)
    a, b, c, d = logs
    return most + log((exp(a - most) + exp(b - most) + exp(c - most) + exp(d - most)) / 4)


def windows(state: Logs) -> float:
    """Compute the mean of R, which grows by at most 1 a window, from log(1 + R)."""
    return exp(log_mean(state)) - 1


def _log_plus_one(x: float) -> float:
    return log1p(exp(x)) if x < 30 else min(x, _LARGEST)
