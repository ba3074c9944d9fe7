"""Scored trajectories in, the groups that GRPO compares out; what is left over has a reason.

A window is streamed through: of each group no more than ``max_group_size`` members and the two
extremes of reward are held, so memory follows the number of groups, not that of trajectories.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from heapq import heappush, heappushpop

from msgspec import Struct, field

from babylon_tasks.dataset.freshness import Policies, Unfit, label
from babylon_tasks.records import Group, LlmCall, Member, Rejection, ScoredTrajectory

STAGE = "dataset"
NO_SPREAD = "no_spread"
TOO_SMALL = "too_small"
GROUP_FULL = "group_full"


class Rules(Struct, frozen=True):
    """The settings that decide what becomes a group; ``label`` is that of all its calls."""

    max_group_size: int
    min_reward_spread: float
    max_staleness_steps: int
    label: str


class Grouped(Struct, frozen=True):
    """A window's groups, its rejections, and the ids used up without training on them.

    ``calls_left_out`` counts single calls, also of trajectories that stay.
    """

    groups: tuple[Group, ...]
    rejections: tuple[Rejection, ...]
    used_up: tuple[tuple[str, str], ...]
    calls_left_out: dict[str, int]

    @property
    def reason(self) -> str:
        """Why nothing is trainable: the commonest cause, as a word."""
        causes = Counter(use for _, use in self.used_up)
        causes.update(rejection.reason for rejection in self.rejections)
        return causes.most_common(1)[0][0] if causes else "nothing_trainable"


def rank(trajectory_id: str) -> bytes:
    """The place of a trajectory in the deterministic choice: as good as random, yet stable."""
    return hashlib.blake2b(trajectory_id.encode(), digest_size=16).digest()


Placed = tuple[int, str, Member]


def _placed(member: Member) -> Placed:
    # A heap gives up its smallest: the negated rank makes that the last in the order of choice.
    identity = member.trajectory_id
    return -int.from_bytes(rank(identity), "big"), identity, member


class _Pool(Struct):
    """One group while it is collected: the first by rank, both extremes, who is left out."""

    chosen: list[Placed] = field(default_factory=list)
    lowest: Placed | None = None
    highest: Placed | None = None
    left: set[str] = field(default_factory=set)

    def add(self, member: Member, size: int) -> None:
        one = _placed(member)
        if self.lowest is None or _before(one, self.lowest):
            self.lowest = one
        if self.highest is None or _before(self.highest, one):
            self.highest = one
        if len(self.chosen) < size:
            heappush(self.chosen, one)
        else:
            self.left.add(heappushpop(self.chosen, one)[1])

    def choose(self, min_spread: float) -> list[Member]:
        """The members in order of rank; the extremes replace the last two if spread needs them."""
        members = [member for _, _, member in sorted(self.chosen, reverse=True)]
        if self.lowest is None or self.highest is None or has_spread(members, min_spread):
            return members
        extremes = [self.lowest[2], self.highest[2]]
        if not has_spread(extremes, min_spread):
            return members
        ids = {extreme.trajectory_id for extreme in extremes}
        others = [member for member in members if member.trajectory_id not in ids]
        kept = others[: len(members) - len(ids)]
        self.left.update(member.trajectory_id for member in others[len(kept) :])
        self.left -= ids
        return sorted([*kept, *extremes], key=lambda member: rank(member.trajectory_id))


def _before(one: Placed, other: Placed) -> bool:
    return (one[2].reward, one[0]) < (other[2].reward, other[0])


def has_spread(members: Sequence[Member], minimum: float) -> bool:
    """Whether the rewards differ enough to say which answer was the better one."""
    rewards = [member.reward for member in members]
    distance = max(rewards) - min(rewards) if rewards else 0.0
    return distance > minimum


class WindowGroups:
    """Collects one window, in any order, with the same result whatever the order.

    ``policies`` is None for a held-out window: valuing needs prompts, answers and rewards,
    whoever gave the answers.
    """

    def __init__(self, window: str, rules: Rules, policies: Policies | None) -> None:
        self.window = window
        self._rules = rules
        self._policies = policies
        self._pools: dict[str, _Pool] = {}
        self._rejections: list[Rejection] = []
        self._left_out: Counter[str] = Counter()

    def add(self, scored: ScoredTrajectory) -> None:
        """Take one trajectory, without the calls that must not be learned from."""
        trajectory = scored.trajectory
        faults = [self._fault(call) for call in trajectory.calls]
        self._left_out.update(reason for reason in faults if reason is not None)
        calls = tuple(
            call for call, reason in zip(trajectory.calls, faults, strict=True) if reason is None
        )
        if not calls:
            reason, count = Counter(r for r in faults if r is not None).most_common(1)[0]
            models = ", ".join(sorted({call.model for call in trajectory.calls}))[:120]
            detail = f"{count} of {len(faults)} calls; asked for: {models}"
            self._rejections.append(Rejection(trajectory.trajectory_id, STAGE, reason, detail))
            return
        # + 0.0: minus zero would not survive the way through jsonb.
        member = Member(trajectory.trajectory_id, scored.reward + 0.0, calls)
        self._pools.setdefault(scored.group_key, _Pool()).add(member, self._rules.max_group_size)

    def is_closed(self, key: str) -> bool:
        """Whether a group, filled in order of ``rank``, can no longer change."""
        pool = self._pools.get(key)
        return (
            pool is not None
            and len(pool.chosen) == self._rules.max_group_size
            and has_spread([m for _, _, m in pool.chosen], self._rules.min_reward_spread)
        )

    def pass_over(self, key: str, trajectory_id: str) -> None:
        """Leave a trajectory out of a closed group, unread."""
        self._pools[key].left.add(trajectory_id)

    def reject(self, rejection: Rejection) -> None:
        """Take note of a trajectory that could not be read any more."""
        self._rejections.append(rejection)

    def finish(self) -> Grouped:
        """The groups in order of key, members in order of rank."""
        rules, groups, used_up = self._rules, list[Group](), list[tuple[str, str]]()
        rejections = list(self._rejections)
        for key in sorted(self._pools):
            pool = self._pools[key]
            members = pool.choose(rules.min_reward_spread)
            use = None
            if len(members) < 2:
                use = TOO_SMALL
            elif not has_spread(members, rules.min_reward_spread):
                use = NO_SPREAD
            if use is not None:
                ids = [member.trajectory_id for member in members] + sorted(pool.left)
                used_up.extend((trajectory_id, use) for trajectory_id in ids)
                continue
            groups.append(Group(self.window, key, tuple(members)))
            detail = f"its group holds {rules.max_group_size} others, chosen by hash"
            rejections.extend(
                Rejection(trajectory_id, STAGE, GROUP_FULL, detail)
                for trajectory_id in sorted(pool.left)
            )
        rejections.sort(key=lambda rejection: (rejection.trajectory_id, rejection.reason))
        return Grouped(
            tuple(groups), tuple(rejections), tuple(used_up), dict(sorted(self._left_out.items()))
        )

    def _fault(self, call: LlmCall) -> str | None:
        if self._policies is None:
            return call.carries  # a prompt that is not all text is not the one that was answered
        rules = self._rules
        found = label(
            call,
            self._policies,
            (rules.label,),
            max_staleness_steps=rules.max_staleness_steps,
        )
        return found.reason if isinstance(found, Unfit) else None
