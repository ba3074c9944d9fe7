"""Which held-out groups checkpoints are valued on: PURE, and changed by new windows only.

Two checkpoints can only be compared on the same set, so within a window the choice is by rank
and never varies. The newest windows come first: their answers are those that the policies of
now give, and a value says little where recorded answers cover little of what a policy says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from babylon_tasks.dataset.groups import rank
from babylon_tasks.dataset.manifest import canonical
from babylon_tasks.records import Group


def order(
    groups: Iterable[tuple[str, str, float]], min_reward_spread: float
) -> list[tuple[str, str]]:
    """(window, key, spread) in, (window, key) out: those that tell policies apart, newest first.

    Where all answers earned the same, every policy has the same value. When the policy has
    settled, its windows have no spread, and the set stays with the last that did.
    """
    informative = [(window, key) for window, key, spread in groups if spread > min_reward_spread]
    by_rank = sorted(informative, key=lambda group: rank(f"{group[0]}\0{group[1]}"))
    return sorted(by_rank, key=lambda group: group[0], reverse=True)


def set_hash(groups: Sequence[Group]) -> str:
    """SHA-256 of the groups' content: values are comparable exactly where it is equal."""
    return hashlib.sha256(canonical(tuple(groups))).hexdigest()
