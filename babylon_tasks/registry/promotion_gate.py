"""The promotion gate: values on held-out groups in, a decision with its figures out. Pure.

Candidate and serving checkpoint are compared on the same groups. With the objective's mean
difference d, its standard error e and degrees of freedom n (``paired_difference``), the candidate
is refused exactly where

    d < -tolerance  and  d < -t(0.9, n) e

So one that is equal is refused at most once in ten times, however few groups there are; what is
stopped at which true difference is measured by ``python -m bench.gate``, in docs/learning.md.

Small losses, none of which is beyond doubt, add up. So it is also compared with the checkpoint
that served ``EARLIER`` promotions before, in the same way. That one is chosen by its age, never by
its value: the best value seen on a small set is mostly its luck (Smith and Winkler 2006, the
optimizer's curse), and no honest candidate reaches it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from statistics import fmean
from typing import Any

from msgspec import Struct, to_builtins

from babylon_tasks.dataset.checkpoint_tree import Parents, path
from babylon_tasks.dataset.diversity import GroupAnswers, Says
from babylon_tasks.dataset.held_out import Place
from babylon_tasks.decisions import Decision, RefusalKind
from babylon_tasks.registry.near_constant import collapse, compare_answers
from babylon_tasks.registry.paired_difference import DOUBT, PairedDifference, paired_difference
from babylon_tasks.settings import Settings

EARLIER = 8  # promotions before what serves
_NO_BETTER = "worse beyond doubt"


class CheckpointFigures(Struct, frozen=True):
    """A checkpoint's figures on each held-out group, in the order of the set: value in [0, 1] and
    entropy in nats (empty: not counted), and what its answers come to (empty: not known)."""

    step: int
    values: tuple[float, ...]
    coverage: float = 1.0
    entropy: tuple[float, ...] = ()
    says: tuple[Says, ...] = ()


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


def earlier(serving: int, parents: Parents, kept: Container[int]) -> int | None:
    """Find what served ``EARLIER`` promotions before, or the first of fewer; None: nothing did.

    Only those that are ``kept`` count.
    """
    way = [step for step in path(serving, parents)[1 : EARLIER + 1] if step in kept]
    return way[-1] if way else None


class GateDecision(Struct, frozen=True):
    """The decision, its reason, and the figures behind it."""

    decision: Decision
    reason: str
    figures: dict[str, Any]


def decide(
    candidate: CheckpointFigures,
    serving: CheckpointFigures,
    before: CheckpointFigures | None,
    places: Sequence[Place],
    settings: Settings,
    recorded: Sequence[GroupAnswers] = (),
) -> GateDecision:
    """Promote a candidate unless its answers have collapsed, or it is worse, beyond doubt and by
    more than the tolerance.

    Worse than what serves; or than ``before``, which served long before (``earlier``), unless it is
    better than what serves beyond doubt: it is on the way back.
    """
    n = len(candidate.values)
    if not n == len(serving.values) == len(places):
        raise ValueError("candidate and serving checkpoint must be evaluated on the same groups")
    if n < settings.min_eval_groups:
        return too_few_groups(n, settings)
    ours, theirs = objective(candidate, settings), objective(serving, settings)
    difference = paired_difference(ours, theirs, places)
    figures: dict[str, Any] = {
        "groups": n,
        "tolerance": settings.promote_tolerance,
        "candidate": fmean(candidate.values),
        "serving": fmean(serving.values),
        "entropy": {
            "candidate": fmean(candidate.entropy) if candidate.entropy else None,
            "serving": fmean(serving.entropy) if serving.entropy else None,
            "weight": settings.promote_entropy_weight,
        },
        "objective": {"candidate": fmean(ours), "serving": fmean(theirs)},
        "coverage": {"candidate": candidate.coverage, "serving": serving.coverage},
        **_figures(difference),
    }
    if max(candidate.coverage, serving.coverage) < settings.min_eval_coverage:
        return without_evaluation(
            f"the recorded answers cover {candidate.coverage:.1%} of what the policy says, "
            f"less than {settings.min_eval_coverage:.1%}",
            figures,
            settings,
        )
    on = f"on {n} held-out groups"
    text = f"{_in_words(difference)} the serving checkpoint {serving.step} {on}"
    if recorded and candidate.says and serving.says:
        answers = compare_answers(candidate.says, serving.says, recorded)
        figures["answers"] = to_builtins(answers)
        gain = paired_difference(candidate.values, serving.values, places)
        collapsed = collapse(answers, better=gain.mean > gain.bound(1 - DOUBT))
        if collapsed is not None:
            return _refuse(f"near-constant answers {on}: {collapsed}", figures, RefusalKind.HARM)
    if _worse(difference, settings):
        return _refuse(f"{_NO_BETTER}: {text}", figures, RefusalKind.NO_BETTER)
    if before is not None:
        since = paired_difference(ours, objective(before, settings), places)
        figures["earlier"] = {"step": before.step, **_figures(since)}
        if _worse(since, settings) and difference.mean <= difference.bound(1 - DOUBT):
            return _refuse(
                f"{_NO_BETTER}: {_in_words(since)} checkpoint {before.step}, which served up to "
                f"{EARLIER} promotions before, {on}",
                figures,
                RefusalKind.NO_BETTER,
            )
    return GateDecision(Decision.PROMOTE, text, figures)


def too_few_groups(groups: int, settings: Settings) -> GateDecision:
    """Decide where there are fewer held-out groups than ``min_eval_groups``."""
    return without_evaluation(
        f"{groups} held-out groups of at least {settings.min_eval_groups}",
        {"groups": groups, "tolerance": settings.promote_tolerance},
        settings,
    )


def without_evaluation(why: str, figures: dict[str, Any], settings: Settings) -> GateDecision:
    """Hold without a usable evaluation."""
    return GateDecision(Decision.HOLD, why, figures | {"at_least": _at_least(settings)})


def stands(figures: Mapping[str, Any], settings: Settings) -> bool:
    """Check whether a decision with these figures is the same today: one for lack of evidence is
    only with the same settings of how much is enough."""
    return "refused" in figures or figures.get("at_least") == _at_least(settings)


def _at_least(settings: Settings) -> dict[str, float]:
    return {"groups": settings.min_eval_groups, "coverage": settings.min_eval_coverage}


def _worse(difference: PairedDifference, settings: Settings) -> bool:
    return difference.mean < -max(settings.promote_tolerance, difference.bound(1 - DOUBT))


def _refuse(why: str, figures: dict[str, Any], kind: RefusalKind) -> GateDecision:
    return GateDecision(Decision.HOLD, why, figures | {"refused": kind})


def _figures(difference: PairedDifference) -> dict[str, Any]:
    reach = difference.bound(0.975)
    return {
        "difference": difference.mean,
        "error": difference.error,
        "interval_95": [difference.mean - reach, difference.mean + reach],
        "questions": difference.questions,
        "newest": difference.newest,
    }


def _in_words(difference: PairedDifference) -> str:
    return f"objective {difference.mean:+.4f} ± {difference.error:.4f} against"
