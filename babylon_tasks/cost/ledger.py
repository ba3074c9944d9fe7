"""What a lineage has cost: in all, by kind, step, window and promotion."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from babylon_tasks.cost.records import (
    LEARNING,
    CostKind,
    CostRecords,
    Prices,
    Promoted,
    StepTook,
)
from babylon_tasks.cost.spending import Spending, Total, spendings, total
from babylon_tasks.states import StepState

_NOT_LISTED = "steps of several windows, whose trajectories are no longer listed"


class StepCost(Struct, frozen=True):
    """A step's runs and the screens of its checkpoint; ``windows``: its parts, by trajectories.

    These are None where what it took is no longer listed, or its cost is not known.
    """

    step: int
    state: str
    total: Total
    windows: dict[str, float] | None


class WindowCost(Struct, frozen=True):
    """A window's parts of the steps that took it, and what the judge was paid for it.

    ``money`` is None where neither is known.
    """

    window: str
    money: float | None
    lacks: dict[str, int]


class PromotionCost(Struct, frozen=True):
    """What learning has cost from the promotion before to this one, refused steps included.

    ``gain``: of the objective; None: not measured. ``step`` is None for what came after the last.
    """

    step: int | None
    moment: datetime | None
    total: Total
    gain: float | None

    @property
    def for_a_hundredth(self) -> float | None:
        """What 0.01 of the objective has cost; None where none was gained, or it is not known."""
        if self.total.money is None or self.gain is None or self.gain <= 0:
            return None
        return self.total.money * 0.01 / self.gain


class Ledger(Struct, frozen=True):
    """What a lineage has cost: in all, by kind, step and window in order, and by promotion."""

    total: Total
    kinds: dict[CostKind, Total]
    steps: list[StepCost]
    windows: list[WindowCost]
    promotions: list[PromotionCost]


def ledger(records: CostRecords, prices: Prices) -> Ledger:
    """Price what is on record."""
    with_before = spendings(records, prices)
    spent = [one for one in with_before if _is_in(one.moment, records.since)]
    by_step = _by_step(spent)
    steps = [_step(one, by_step) for one in records.steps]
    return Ledger(
        total=total(spent),
        kinds={
            kind: total(one for one in spent if one.kind is kind)
            for kind in CostKind
            if any(one.kind is kind for one in spent)
        },
        steps=steps,
        windows=_windows(records.steps, steps, spent),
        promotions=[
            one
            for one in _promotions(records.promotions, with_before)
            if one.moment is None or _is_in(one.moment, records.since)
        ],
    )


def _is_in(moment: datetime, since: datetime | None) -> bool:
    return since is None or moment >= since


def _by_step(spent: Sequence[Spending]) -> dict[tuple[CostKind, int], list[Spending]]:
    """Group runs by the step's id, screens by its checkpoint."""
    found: dict[tuple[CostKind, int], list[Spending]] = defaultdict(list)
    for one in spent:
        which = one.step if one.kind is CostKind.SCREENS else one.step_id
        if which is not None:
            found[one.kind, which].append(one)
    return found


def _step(took: StepTook, by_step: Mapping[tuple[CostKind, int], list[Spending]]) -> StepCost:
    screens = by_step.get((CostKind.SCREENS, took.step), ())
    of_it = total(
        [
            *by_step.get((CostKind.TRAINING, took.step_id), ()),
            *(screens if took.state == StepState.COMMITTED else ()),
        ]
    )
    return StepCost(took.step, took.state, of_it, _parts(took, of_it.money))


def _parts(took: StepTook, money: float | None) -> dict[str, float] | None:
    if money is None:
        return None
    if len(took.windows) == 1:
        return {took.windows[0]: money}
    if not took.trajectories:
        return None
    of_all = sum(took.trajectories.values())
    return {window: money * count / of_all for window, count in took.trajectories.items()}


def _windows(
    steps: Sequence[StepTook], costs: Sequence[StepCost], spent: Sequence[Spending]
) -> list[WindowCost]:
    money: dict[str, float] = defaultdict(float)
    lacks: dict[str, Counter[str]] = defaultdict(Counter)
    for took, cost in zip(steps, costs, strict=True):
        for window in took.windows:
            lacks[window].update(cost.total.lacks)
            if cost.windows is None and cost.total.money is not None:
                lacks[window][_NOT_LISTED] += 1
        for window, part in (cost.windows or {}).items():
            money[window] += part
    for one in spent:
        if one.window is not None:
            lacks[one.window].update(one.lacks)
            if one.money is not None:
                money[one.window] += one.money
    return [
        WindowCost(window, money.get(window), dict(lacks[window]))
        for window in sorted(lacks.keys() | money.keys())
    ]


def _promotions(promoted: Sequence[Promoted], spent: Sequence[Spending]) -> list[PromotionCost]:
    of_learning = [one for one in spent if one.kind in LEARNING]  # in the order of time
    found: list[PromotionCost] = []
    begin = 0
    for one in sorted(promoted, key=lambda one: one.moment):
        end = bisect_right(of_learning, one.moment, begin, key=lambda each: each.moment)
        found.append(PromotionCost(one.step, one.moment, total(of_learning[begin:end]), one.gain))
        begin = end
    if begin < len(of_learning):
        found.append(PromotionCost(None, None, total(of_learning[begin:]), None))
    return found
