"""Divide comparable trajectories into the groups that GRPO takes. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from babylon_tasks.dataset.keys import kind_of_key
from babylon_tasks.reasons import UsedAs
from babylon_tasks.scoring.default import MOST_OF_ACTIVITY

_ROUNDING = 1e-9  # .07 of 100 is a little more than 7, .29 of 100 a little less than 29


class HasReward(Protocol):
    """A trajectory that can be dealt into groups."""

    @property
    def trajectory_id(self) -> str: ...
    @property
    def reward(self) -> float: ...


R = TypeVar("R", bound=HasReward)


def rank(name: str) -> bytes:
    """Make a sort key whose order is pseudo-random but stable."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def deal(members: Iterable[R], size: int) -> list[list[R]]:
    """Divide comparable trajectories into groups of at most ``size``, as equal as possible.

    They are dealt like cards in the order of reward, so that each group has about the same shares
    of good and bad answers. At random, where good answers are rare, more groups would have no
    spread and teach nothing. The hash of the id breaks ties; the order of ``members`` does not
    matter.
    """
    ordered = sorted(members, key=lambda one: (one.reward, rank(one.trajectory_id)))
    number = -(-len(ordered) // size)
    return [
        sorted(ordered[first::number], key=lambda one: rank(one.trajectory_id))
        for first in range(number)
    ]


def reading_order(keyed: Iterable[tuple[str, R]], size: int) -> dict[str, list[R]]:
    """(key, trajectory) pairs as they are to be read, by key; a key's groups follow each other.

    Both orders depend on hashes only: neither an early name nor an early row is preferred.
    """
    by_key: dict[str, list[R]] = {}
    for key, one in keyed:
        by_key.setdefault(key, []).append(one)
    return {
        key: [one for group in deal(by_key[key], size) for one in group]
        for key in sorted(by_key, key=rank)
    }


def next_size(left: int, size: int) -> int:
    """How many the next group of a key takes of those left, so that all are about equal."""
    return -(-left // -(-left // size))


def spread(values: Sequence[float]) -> float:
    """Subtract the lowest value from the highest; 0 without values."""
    return max(values) - min(values) if values else 0.0


def teaches_nothing(
    rewards: Sequence[float], activities: Sequence[float], min_reward_spread: float
) -> UsedAs | None:
    """Find why a group teaches nothing; None where its rewards differ enough."""
    if len(rewards) < 2:
        return UsedAs.TOO_SMALL
    if spread(rewards) > min_reward_spread:
        return None
    return UsedAs.ONLY_ACTIVITY if spread(activities) > 0 else UsedAs.NO_SPREAD


def is_settled(rewards: Sequence[float], share: float) -> bool:
    """Check whether one of a group, but at most twice ``share`` of it, earned less than its best.

    Such a group would only make the policy surer of what it knows: the few are its exploration.
    Twice, for by chance some groups have more of them than others. Where the few earned more it is
    never settled, as ``share`` is less than a quarter. What activity adds does not count.
    """
    return 0 < sum(_worse(rewards)) <= 2 * share * len(rewards) + _ROUNDING


def settled_kinds(keyed: Iterable[tuple[str, float, bool]], share: float) -> frozenset[str]:
    """Find the kinds of questions in which at most ``share`` lost or earned less than others did.

    (key, reward, whether it lost) of a window's trajectories. Only there groups may be settled. A
    policy that says nearly the same to everything has nearly unanimous groups too, and those where
    that pays are the other half of what it has to learn. And where all of a group are wrong, only
    other groups can mend that.
    """
    by_key: dict[str, list[tuple[float, bool]]] = {}
    for key, reward, lost in keyed:
        by_key.setdefault(key, []).append((reward, lost))
    members: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for key, ended in by_key.items():
        worse = _worse([reward for reward, _ in ended])
        members[kind_of_key(key)] += len(ended)
        wrong[kind_of_key(key)] += sum(
            less or lost for less, (_, lost) in zip(worse, ended, strict=True)
        )
    return frozenset(one for one in members if wrong[one] <= share * members[one] + _ROUNDING)


def _worse(rewards: Sequence[float]) -> list[bool]:
    best = max(rewards, default=0.0)
    return [best - reward > MOST_OF_ACTIVITY + _ROUNDING for reward in rewards]
