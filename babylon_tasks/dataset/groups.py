"""Who is compared with whom: what can be compared is cut into the groups that GRPO takes. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

STAGE = "dataset"
NO_SPREAD = "no_spread"
ONLY_ACTIVITY = "only_activity"
TOO_SMALL = "too_small"


class Rewarded(Protocol):
    """What can be dealt into groups."""

    @property
    def trajectory_id(self) -> str: ...
    @property
    def reward(self) -> float: ...


R = TypeVar("R", bound=Rewarded)


def rank(name: str) -> bytes:
    """A place in a deterministic choice: as good as random, yet stable."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def deal(members: Iterable[R], size: int) -> list[list[R]]:
    """Cut what can be compared into groups of at most ``size``, as equal in number as may be.

    Dealt like cards in the order of reward, so that good and bad answers are in each group in
    about the shares in which they were given. At random, most groups would hold only answers
    that earned the same where few were better, and teach nothing. Between equal rewards the
    hash of the id decides; the order of ``members`` does not matter.
    """
    ordered = sorted(members, key=lambda one: (one.reward, rank(one.trajectory_id)))
    number = -(-len(ordered) // size)
    return [
        sorted(ordered[first::number], key=lambda one: rank(one.trajectory_id))
        for first in range(number)
    ]


def spread(values: Sequence[float]) -> float:
    """How far apart the highest and the lowest are."""
    return max(values) - min(values) if values else 0.0


def fault(
    rewards: Sequence[float], activities: Sequence[float], min_reward_spread: float
) -> str | None:
    """Why a group teaches nothing, or None where it tells which answer was the better one."""
    if len(rewards) < 2:
        return TOO_SMALL
    if spread(rewards) > min_reward_spread:
        return None
    return ONLY_ACTIVITY if spread(activities) > 0 else NO_SPREAD
