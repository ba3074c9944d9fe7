"""Which held-out groups checkpoints are valued on: PURE, and slow to change.

Two checkpoints can only be compared on the same set, so a new group displaces an old one only
where its rank is lower: the set settles, while every window has the same chance to be in it.
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
    """(window, key, spread) in, (window, key) out: those that tell policies apart, by rank.

    Where all answers earned the same, every policy has the same value.
    """
    informative = [(window, key) for window, key, spread in groups if spread > min_reward_spread]
    return sorted(informative, key=lambda group: rank(f"{group[0]}\0{group[1]}"))


def set_hash(groups: Sequence[Group]) -> str:
    """SHA-256 of the groups' content: values are comparable exactly where it is equal."""
    return hashlib.sha256(canonical(tuple(groups))).hexdigest()
