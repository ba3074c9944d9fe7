"""The metrics of what learning costs, by the prices that are set, for beat's export."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cost.records import LEARNING
from babylon_tasks.cost.spending import total
from babylon_tasks.db.session import Connection
from babylon_tasks.registry import budget
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.metric_sample import Sample

_OF_LINEAGE = ("lineage",)
# Name: help text and labels. A figure that does not exist yet is left out.
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "babylon_spent_dollars": (
        "What learning has cost in the last BABYLON_BUDGET_HOURS by the prices that are set, by "
        "kind; what has no price is left out.",
        ("lineage", "kind"),
    ),
    "babylon_budget_dollars": ("BABYLON_BUDGET, where it is set.", _OF_LINEAGE),
    "babylon_budget_spent": (
        "Whether no step is planned because the budget is spent: 1 or 0; it goes on by itself.",
        _OF_LINEAGE,
    ),
}


def samples(connection: Connection, settings: Settings) -> Iterator[Sample]:
    """Read a lineage's figures."""
    of_it = {"lineage": settings.lineage}
    now, spent = budget.spent_lately(connection, settings)
    for kind in sorted(LEARNING):
        found = total(one for one in spent if one.kind is kind)
        if found.money is not None:
            yield Sample("babylon_spent_dollars", found.money, of_it | {"kind": kind.value})
    waits = False
    if settings.budget is not None:
        yield Sample("babylon_budget_dollars", settings.budget, of_it)
        waits = budget.state_of(settings, settings.budget, now, spent).until is not None
    yield Sample("babylon_budget_spent", waits, of_it)
