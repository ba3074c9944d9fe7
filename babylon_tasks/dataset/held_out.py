"""Which held-out groups checkpoints are evaluated on: PURE, and changed by new windows only.

Two checkpoints can only be compared on the same set, so within a window the choice is by rank
and never varies. The newest windows come first: their answers are closest to those of the current
policies, and a value means little where the recorded answers cover little of what a policy says. A
question that many agents were asked makes several groups, but each question contributes one group
before any contributes a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from babylon_tasks.dataset.groups import rank
from babylon_tasks.dataset.manifest import canonical
from babylon_tasks.records import Group


def order(
    comparable: Iterable[tuple[str, str, int, float]], max_group_size: int, min_spread: float
) -> list[tuple[str, str, int]]:
    """Order held-out groups: (window, key, members, spread) in, (window, key, part) out.

    Where all answers earned the same, every policy has the same value. Once the policy has settled
    on one answer, its windows have no spread, and the set keeps the last windows that had.
    """
    parts = [
        (window, key, part)
        for window, key, members, spread in comparable
        if spread > min_spread
        for part in range(-(-members // max_group_size))
    ]
    by_rank = sorted(parts, key=lambda one: rank(f"{one[0]}\0{one[1]}"))
    newest_first = sorted(by_rank, key=lambda one: one[0], reverse=True)
    return sorted(newest_first, key=lambda one: one[2])


def set_hash(groups: Sequence[Group]) -> str:
    """Hash the groups' content (SHA-256): values are comparable exactly where it is equal."""
    return hashlib.sha256(canonical(tuple(groups))).hexdigest()
