"""The promotion gate: values on held-out groups in, a decision with its figures out. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from msgspec import Struct

from babylon_tasks.decisions import Decision, RefusalKind
from babylon_tasks.settings import Settings

_RESAMPLES = 2000


class CheckpointFigures(Struct, frozen=True):
    """A checkpoint's figures on each held-out group, in the order of the set: value in [0, 1] and
    entropy in nats (empty: not counted)."""

    step: int
    values: tuple[float, ...]
    coverage: float = 1.0
    entropy: tuple[float, ...] = ()


def objective(checkpoint: CheckpointFigures, settings: Settings) -> tuple[float, ...]:
    """Compute what the gate compares, per group: the value plus a bonus for remaining diversity.

    Without it a policy that has settled on one answer is as good as a coin where half of the
    questions are answered yes; but it is a dead end: its windows have no spread of reward, and
    nothing is ever learned from them again. (Entropy-regularised reward: Ziebart 2010.)
    """
    if not checkpoint.entropy:
        return checkpoint.values
    weight = settings.promote_entropy_weight
    return tuple(v + weight * h for v, h in zip(checkpoint.values, checkpoint.entropy, strict=True))


def best(others: Iterable[CheckpointFigures], settings: Settings) -> tuple[int, float] | None:
    """Find step and mean objective of the best, the newest of equal ones; None if there is none."""
    means = [(fmean(objective(one, settings)), one.step) for one in others]
    if not means:
        return None
    mean, step = max(means)
    return step, mean


class GateDecision(Struct, frozen=True):
    """The decision, its reason, and the figures behind it."""

    decision: Decision
    reason: str
    figures: dict[str, Any]


def decide(
    candidate: CheckpointFigures,
    serving: CheckpointFigures,
    best: tuple[int, float] | None,
    settings: Settings,
) -> GateDecision:
    """Promote a candidate as good, within the tolerance, as the serving and the best checkpoint.

    ``best``: (step, mean objective) of the best checkpoint known on the same set. It keeps a slow
    decline, each step within the tolerance, from reaching the agents.
    """
    if len(candidate.values) != len(serving.values):
        raise ValueError("candidate and serving checkpoint must be evaluated on the same groups")
    n = len(candidate.values)
    if n < settings.min_eval_groups:
        return too_few_groups(n, settings)
    figures: dict[str, Any] = {"groups": n, "tolerance": settings.promote_tolerance}
    our_objective, their_objective = objective(candidate, settings), objective(serving, settings)
    ours, theirs = fmean(our_objective), fmean(their_objective)
    differences = [a - b for a, b in zip(our_objective, their_objective, strict=True)]
    low, high = interval(differences)
    figures |= {
        "candidate": fmean(candidate.values),
        "serving": fmean(serving.values),
        "entropy": {
            "candidate": fmean(candidate.entropy) if candidate.entropy else None,
            "serving": fmean(serving.entropy) if serving.entropy else None,
            "weight": settings.promote_entropy_weight,
        },
        "objective": {"candidate": ours, "serving": theirs},
        "difference": fmean(differences),
        "interval_95": [low, high],
        "interval_method": f"percentile bootstrap over groups, {_RESAMPLES} resamples",
        "coverage": {"candidate": candidate.coverage, "serving": serving.coverage},
    }
    if max(candidate.coverage, serving.coverage) < settings.min_eval_coverage:
        return without_evaluation(
            f"the recorded answers cover {candidate.coverage:.1%} of what the policy says, "
            f"less than {settings.min_eval_coverage:.1%}",
            figures,
        )
    threshold, against = theirs, f"the serving checkpoint {serving.step}"
    if best is not None:
        figures["best"] = {"step": best[0], "objective": best[1]}
        if best[1] > threshold:
            threshold, against = best[1], f"the best known checkpoint {best[0]}"
    text = f"objective {ours:.4f} on {n} held-out groups against {threshold:.4f} of {against}"
    if ours >= threshold - settings.promote_tolerance:
        return GateDecision(Decision.PROMOTE, text, figures)
    return GateDecision(
        Decision.HOLD,
        f"{text}: worse by more than {settings.promote_tolerance:g}",
        figures | {"refused": RefusalKind.NO_BETTER},
    )


def too_few_groups(groups: int, settings: Settings) -> GateDecision:
    """Decide where there are fewer held-out groups than ``min_eval_groups``."""
    return without_evaluation(
        f"{groups} held-out groups of at least {settings.min_eval_groups}",
        {"groups": groups, "tolerance": settings.promote_tolerance},
    )


def without_evaluation(why: str, figures: dict[str, Any]) -> GateDecision:
    """Hold without a usable evaluation."""
    return GateDecision(Decision.HOLD, why, figures)


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Compute the 95 % percentile-bootstrap interval of the mean; deterministic."""
    source = random.Random(0)
    means = sorted(
        fmean(source.choices(differences, k=len(differences))) for _ in range(_RESAMPLES)
    )
    return means[int(0.025 * _RESAMPLES)], means[int(0.975 * _RESAMPLES) - 1]
