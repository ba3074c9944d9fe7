"""Which checkpoint goes on trial next."""

from __future__ import annotations

from babylon_tasks.dataset.checkpoint_tree import path
from babylon_tasks.db import lineages, refusals, screens
from babylon_tasks.db.session import Connection
from babylon_tasks.policy_names import policy_name
from babylon_tasks.registry.promotion_modes import PromotionMode


def choose_examinee(
    connection: Connection,
    lineage: str,
    mode: PromotionMode,
    *,
    serving: int,
    anchor: int | None,
    ended: str,
) -> int | None:
    """Choose what serves, if no screen refused it; in mode ``proven`` the newest that passed one.

    Neither the anchor nor the one whose trial ``ended`` last, and in mode ``proven`` only what was
    trained from what serves and is not refused. None: there is nobody to be tried.
    """
    if mode is PromotionMode.PROVEN:
        parents = lineages.parents(connection, lineage)
        against = refusals.refused(connection, lineage) | {anchor, serving}
        candidates = [
            step
            for step in screens.passed(connection, lineage)
            if step not in against and serving in path(step, parents)
        ]
    else:
        candidates = [] if screens.refused(connection, lineage, serving) else [serving]
    fresh = (one for one in candidates if one != anchor and policy_name(lineage, one) != ended)
    return next(fresh, None)
