"""Which branches of a lineage are dead, and who lives again.

A refused head is dead once the next step is planned from elsewhere: until then a later evaluation
may promote it. What was rolled back dies at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from babylon_tasks.dataset.checkpoint_tree import Parents, path
from babylon_tasks.db import branches, lineages
from babylon_tasks.db.session import Connection


def others(leaves: Iterable[int], parents: Parents) -> set[int]:
    """List the steps of a tree that lead to none of the ``leaves``. Pure."""
    return parents.keys() - {step for leaf in leaves for step in path(leaf, parents)}


def passed_over(steps: Iterable[int], serving: int, served: Collection[int]) -> set[int]:
    """List those of the ``steps`` beside what serves that are older, and never served.

    Only the newest checkpoint is decided about: by themselves they never serve any more, whatever
    served before they were trained from it. Pure.
    """
    return {step for step in steps if step < serving and step not in served}


def end_others(
    connection: Connection, lineage: str, leaves: Iterable[int], *, why: str, actor: str
) -> set[int]:
    """End all branches but those that lead to ``leaves``; returns the steps that were alive.

    In the caller's transaction, under the lineage's lock.
    """
    parents = lineages.parents(connection, lineage)
    ended = others(leaves, parents) - branches.dead(connection, lineage)
    if ended:
        branches.end(connection, lineage, ended, why=why, actor=actor)
    return ended


def is_dead(connection: Connection, lineage: str, step: int) -> bool:
    """Check whether a checkpoint or one that it was trained from is dead."""
    dead = branches.dead(connection, lineage)
    return bool(dead) and not dead.isdisjoint(path(step, lineages.parents(connection, lineage)))


def revive(connection: Connection, lineage: str, step: int, *, actor: str) -> set[int]:
    """Let the branch that leads to a dead checkpoint count again; the others end first.

    Returns what has ended. In the caller's transaction, under the lineage's lock.
    """
    back = branches.dead(connection, lineage).intersection(
        path(step, lineages.parents(connection, lineage))
    )
    if not back:
        return set()
    why = f"step {step}, of another branch, serves again"
    ended = end_others(connection, lineage, [step], why=why, actor=actor)
    branches.revive(connection, lineage, back, actor=actor)
    return ended
