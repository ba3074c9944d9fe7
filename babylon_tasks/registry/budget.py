"""A budget: once so much is spent on learning in the last hours, no step is planned meanwhile.

It is worked out anew at each look, from what is on record and the prices that are set: nothing has
to be lifted or reset. What has begun is ended; scoring, screens and serving go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from babylon_tasks.cost.budget import within_again
from babylon_tasks.cost.spending import Spending, Total, spendings, total
from babylon_tasks.cost.words import dollars
from babylon_tasks.db import clock, costs, events, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.settings import Settings


class BudgetState(Struct, frozen=True):
    """What the last ``hours`` have cost; no step is planned ``until`` then; None: one may be."""

    budget: float
    hours: float
    spent: Total
    until: datetime | None

    @property
    def text(self) -> str:
        """Say what is spent, what that means, and what is not counted."""
        money = 0.0 if self.spent.money is None else self.spent.money
        text = (
            f"{dollars(money)} of {dollars(self.budget)} is spent on learning in the last "
            f"{self.hours:g} hours"
        )
        if self.until is not None:
            text += (
                f"; no step is planned until {self.until:%F %T} UTC, or until BABYLON_BUDGET is "
                "raised; what has begun is ended, scoring and serving go on"
            )
        return text

    @property
    def not_counted(self) -> str | None:
        """Say what is not in it; None where everything is."""
        named = (f"{count} {reason}" for reason, count in self.spent.lacks.items())
        return "; ".join(named) or None


def spent_lately(connection: Connection, settings: Settings) -> tuple[datetime, list[Spending]]:
    """Return the time now, and what learning has cost in the budget's hours before."""
    now = clock.now(connection)
    since = now - timedelta(hours=settings.budget_hours)
    records = costs.of_learning(connection, settings.lineage, since=since)
    return now, spendings(records, settings.prices)


def read(connection: Connection, settings: Settings) -> BudgetState | None:
    """Work out how much of the budget is spent; None where none is set."""
    if settings.budget is None:
        return None
    return state_of(settings, settings.budget, *spent_lately(connection, settings))


def state_of(
    settings: Settings, budget: float, now: datetime, spent: Sequence[Spending]
) -> BudgetState:
    """Compare what is spent with the budget."""
    span = timedelta(hours=settings.budget_hours)
    until = within_again(spent, budget, span, now)
    return BudgetState(budget, settings.budget_hours, total(spent), until)


def why_waits(connection: Connection, settings: Settings) -> str | None:
    """Say why the budget lets no step be planned; None where it does."""
    state = read(connection, settings)
    return None if state is None or state.until is None else f"the budget is spent: {state.text}"


def note(connection: Connection, settings: Settings, *, actor: str) -> None:
    """Record that planning has come to wait for the budget, or no longer does; once each."""
    lineage = settings.lineage
    if not _is_news(connection, settings):
        return
    with connection.transaction():
        promotions.lock(connection, lineage)
        if not _is_news(connection, settings):
            return  # another has recorded it meanwhile
        state = read(connection, settings)
        spent = state is not None and state.until is not None
        events.record(
            connection,
            EventKind.BUDGET_SPENT if spent else EventKind.BUDGET_LEFT,
            actor=actor,
            lineage=lineage,
            detail={
                "budget": settings.budget,
                "hours": settings.budget_hours,
                "spent": None if state is None else state.spent.money,
                "until": _moment(state),
            },
        )


def _moment(state: BudgetState | None) -> str | None:
    return None if state is None or state.until is None else state.until.isoformat()


def _is_news(connection: Connection, settings: Settings) -> bool:
    noted = costs.noted_as_spent(connection, settings.lineage)
    return noted != (why_waits(connection, settings) is not None)
