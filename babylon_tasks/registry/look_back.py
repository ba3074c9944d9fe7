"""Whether a checkpoint that served before is worth more today than what serves. Pure.

After a reversal what serves is sure of what was right, or of one answer to everything, and its
groups have little left to learn from. What served long before may say several things where that
one says one, and is then where learning goes on from. It is asked for only after refusals in a
row: as long as steps from what serves are promoted, learning goes on by itself.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from statistics import fmean
from typing import Any

from msgspec import Struct

from babylon_tasks.dataset.checkpoint_tree import Parents, path
from babylon_tasks.dataset.diversity import GroupAnswers
from babylon_tasks.dataset.held_out import Place
from babylon_tasks.held_out_hours import IN_A_ROW
from babylon_tasks.registry import near_constant
from babylon_tasks.registry.near_constant import compare_answers
from babylon_tasks.registry.paired_difference import DOUBT, paired_difference
from babylon_tasks.registry.promotion_gate import CheckpointFigures, objective
from babylon_tasks.settings import Settings

_AGAIN = 5  # refusals: a dozen checkpoints are evaluated each time


class BetterToday(Struct, frozen=True):
    """A checkpoint to return to, why, and the figures behind it."""

    step: int
    reason: str
    figures: dict[str, Any]


def is_due(refused: int) -> bool:
    """Check whether it is time after so many refusals of steps from what serves: after the second,
    and after each five."""
    return refused == IN_A_ROW or (refused > 0 and refused % _AGAIN == 0)


def choose_earlier(serving: int, parents: Parents, kept: Container[int]) -> list[int]:
    """Choose which are compared: those 1, 2, 4, ... promotions before what serves, and as many
    from the first on.

    Only those that are ``kept`` count. A few, since each is a chance of luck.
    """
    way = [step for step in path(serving, parents)[1:] if step in kept]
    near = {2**n - 1 for n in range(len(way).bit_length())}
    places = near | {len(way) - 1 - place for place in near}
    return [step for place, step in enumerate(way) if place in places]


def find_better(
    serving: CheckpointFigures,
    earlier: Sequence[CheckpointFigures],
    places: Sequence[Place],
    settings: Settings,
    recorded: Sequence[GroupAnswers] = (),
) -> BetterToday | None:
    """Find the best of the earlier checkpoints whose objective is higher than that of what serves
    by more than the tolerance and beyond doubt, at no lower value; None where there is none.

    The doubt is divided among them (Bonferroni): of many that are equal, one is lucky. Where what
    serves says nearly the same to everything, diversity is worth most: of those that lead out of it
    at a value that is not lower beyond doubt, the one whose answers differ most.
    """
    best: tuple[float, BetterToday] | None = None
    theirs = objective(serving, settings)
    for one in earlier:
        found = paired_difference(objective(one, settings), theirs, places)
        value = paired_difference(one.values, serving.values, places)
        leads_out = recorded and near_constant.leads_out(
            compare_answers(one.says, serving.says, recorded)
        )
        if leads_out:
            lower = max(settings.promote_tolerance, value.bound(1 - DOUBT))
            rank = 1 + fmean(one.entropy)
        else:
            lower, rank = settings.promote_tolerance, found.mean
            least = max(settings.promote_tolerance, found.bound(1 - DOUBT / len(earlier)))
            if found.mean <= least:
                continue
        if value.mean < -lower or (best is not None and rank <= best[0]):
            continue
        figures = {
            "groups": len(places),
            "compared": [each.step for each in earlier],
            "difference": found.mean,
            "error": found.error,
            "value": {"candidate": fmean(one.values), "serving": fmean(serving.values)},
            "leads_out": bool(leads_out),
        }
        does = "says more than one thing, as" if leads_out else "is worth more today than"
        tail = " does not" if leads_out else ""
        reason = (
            f"checkpoint {one.step}, which served before, {does} {serving.step}{tail}: objective "
            f"{found.mean:+.4f} ± {found.error:.4f} on {len(places)} held-out groups"
        )
        best = rank, BetterToday(one.step, reason, figures)
    return None if best is None else best[1]
