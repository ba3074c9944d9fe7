"""When less than a budget is spent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from babylon_tasks.cost.spending import Spending


def within_again(
    spent: Sequence[Spending], budget: float, span: timedelta, now: datetime
) -> datetime | None:
    """Say when less than the budget is spent in the last ``span``; None: it is now."""
    known = [
        (one.moment + span, one.money)
        for one in sorted(spent, key=lambda one: one.moment)
        if one.money is not None and one.moment + span > now
    ]
    left = sum(money for _, money in known)
    until: datetime | None = None
    for ends, money in known:
        if left < budget:
            return until
        left -= money
        until = ends
    return until
