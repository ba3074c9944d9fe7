"""What refusals change for the next step: a smaller rate, and other data or held-out windows.

The same step from the same checkpoint would be refused again.
"""

from __future__ import annotations

from msgspec import Struct

from babylon_tasks.dataset.checkpoint_tree import path, refused_children
from babylon_tasks.db import arms, branches, lineages, pauses, promotions, refusals
from babylon_tasks.db.refusals import News
from babylon_tasks.db.session import Connection
from babylon_tasks.policy_names import policy_name
from babylon_tasks.registry import budget
from babylon_tasks.registry.branches import passed_over
from babylon_tasks.settings import Settings
from babylon_tasks.training.backends import can_branch

IN_A_ROW = 5  # refusals as no better, after which something changes


class RefusalCounts(Struct, frozen=True):
    """How many steps from one checkpoint were refused, or led to one that was; ``harm``: of these,
    those that were refused for harm.

    An evaluation refuses one equal step in ten: alone it says nothing against the rate. Five in a
    row, of which chance makes one in 100,000, are harm too.
    """

    refused: int
    harm: int

    @property
    def fives(self) -> int:
        """How often five steps were no better; after each the held-out set is drawn anew."""
        return (self.refused - self.harm) // IN_A_ROW

    @property
    def halvings(self) -> int:
        """How often the next step's rate is halved."""
        return self.harm + self.fives

    @property
    def noted(self) -> dict[str, int]:
        """What the planned step's event says of it; empty where nothing was refused."""
        if not self.refused:
            return {}
        return {"refused_before": self.refused, "rate_halved": self.halvings}


def count(connection: Connection, lineage: str, parent: int) -> RefusalCounts:
    """Count the refused steps from this checkpoint."""
    parents = lineages.parents(connection, lineage)
    of_any, for_harm = (
        [(one.step, one.instead) for one in refusals.in_favour(connection, lineage, only_harm=only)]
        for only in (False, True)
    )
    return RefusalCounts(
        len(refused_children(parent, of_any, parents)),
        len(refused_children(parent, for_harm, parents)),
    )


def news(connection: Connection, lineage: str) -> News | None:
    """Read what is new since the steps from the serving checkpoint were refused; None: none was."""
    row = lineages.get(connection, lineage)
    if row is None or not count(connection, lineage, row.serving_step).refused:
        return None
    return refusals.news(connection, lineage)


def why_waits(connection: Connection, settings: Settings) -> str | None:
    """Say why no step is planned yet; None where one may be."""
    lineage = settings.lineage
    row = lineages.get(connection, lineage)
    if row is None:
        return None
    waits = why_paused(connection, settings)
    if waits is None:
        waits = why_undecided(connection, settings, can_branch=can_branch(row.backend))
    if waits is not None:
        return waits
    found = news(connection, lineage)
    if found is None or found.windows or found.held_out:
        return None
    serving = policy_name(lineage, row.serving_step)
    return (
        f"the last step from {serving} was refused, and nothing is new since: the next one waits "
        "for a window that no refused step has used, or for a held-out one"
    )


def why_paused(connection: Connection, settings: Settings) -> str | None:
    """Say why nothing is planned: a person has to look, or the budget is spent; None: neither."""
    found = pauses.in_force(connection, settings.lineage)
    return budget.why_waits(connection, settings) if found is None else found.text


def undecided(connection: Connection, lineage: str) -> set[int]:
    """List the steps that neither lead to what serves nor were refused: they may still serve."""
    row = lineages.get(connection, lineage)
    if row is None:
        return set()
    parents = lineages.parents(connection, lineage)
    here, dead = set(path(row.serving_step, parents)), branches.dead(connection, lineage)
    against = dead | refusals.refused(connection, lineage)
    return {
        step
        for step in parents.keys() - here
        if against.isdisjoint(set(path(step, parents)) - here)
    }


def may_serve(connection: Connection, settings: Settings) -> set[int]:
    """List those undecided steps whose branches are kept: they may still serve, or have served.

    In mode ``manual`` all: an operator may choose any. Else none that lacked evidence
    before another one served: what it has used would count for nothing.
    """
    lineage = settings.lineage
    found = undecided(connection, lineage)
    row = lineages.get(connection, lineage)
    if not found or row is None or settings.promotion_mode == "manual":
        return found
    served = {one.step for one in promotions.served(connection, lineage)}
    return found - passed_over(found, row.serving_step, served)


def why_undecided(connection: Connection, settings: Settings, *, can_branch: bool) -> str | None:
    """Say what must be decided before the next step; None: nothing.

    A backend that cannot branch would have to discard it first. In mode ``proven`` each step waits
    for the trial of the one before, whatever the backend: its siblings could not be tried as well.
    """
    lineage = settings.lineage
    proven = settings.promotion_mode == "proven"
    row = lineages.get(connection, lineage)
    if row is None or (can_branch and not proven):
        return None
    why = f"backend {row.backend} trains on from its newest checkpoint only"
    if proven:
        why = "in mode proven one step is tried at a time"
    parents = lineages.parents(connection, lineage)
    drawn = arms.steps(connection, lineage) - set(path(row.serving_step, parents))
    if drawn:
        return (
            f"{policy_name(lineage, max(drawn))} is in an arm, and {why}: the next step waits "
            "until the arms end"
        )
    found = undecided(connection, lineage)
    if not found:
        return None
    return (
        f"{policy_name(lineage, max(found))} neither serves nor is refused, and {why}: "
        f"`babylon-tasks models promote {max(found)}` or `models refuse {max(found)}` decides"
    )
