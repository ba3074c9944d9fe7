"""Select the groups of a window for a step: from its current rows, up to the token budget.

The list is read first, then the texts, group by group, and groups go to a file: memory depends on
neither the number of agents nor the budget.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from babylon_tasks import metrics
from babylon_tasks.dataset.groups import (
    is_settled,
    next_size,
    reading_order,
    settled_kinds,
    teaches_nothing,
)
from babylon_tasks.dataset.keys import kind_of_key
from babylon_tasks.dataset.row_changes import RowChange, compare_with_score
from babylon_tasks.dataset.schedule import estimated_tokens
from babylon_tasks.dataset.select_calls import CallTerms, member, refuse, select_calls, without
from babylon_tasks.dataset.tripwires.facts import member_facts
from babylon_tasks.dataset.tripwires.watched import MemberFacts
from babylon_tasks.db import consumption, scored_trajectories, tripwires
from babylon_tasks.db.changed_rows import MAX_CHANGES
from babylon_tasks.db.due_windows import ScoredWindow
from babylon_tasks.db.scored_trajectories import ScoredTrajectory
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.groups_on_disk import GroupsOnDisk
from babylon_tasks.pipeline.join_calls import CallJoin, JoinMode
from babylon_tasks.reasons import Reason, Stage, UsedAs
from babylon_tasks.records import Group, Member, Rejection, Trajectory
from babylon_tasks.settings import Settings
from babylon_tasks.training.protocol import Inspected, Refusal

# The trainer's inspection of candidates for a step of one label.
InspectGroup = Callable[[Group, str], Inspected]


class Selection(Struct, frozen=True):
    """The groups of a window for one step, and what happened to its other trajectories.

    ``tokens`` counts those of the groups; ``longest`` is their longest row, 0 where the trainer
    does not know. ``used_up``: (id, use) of those that teach nothing. ``changed`` rows are to be
    scored anew. ``left`` may be taken by another step. ``full``: no more was to be taken.
    ``facts`` of the groups' members, by trajectory, are for the tripwires.
    """

    window: str
    reward_version: int
    groups: GroupsOnDisk
    tokens: int
    longest: int
    rejections: tuple[Rejection, ...]
    used_up: tuple[tuple[str, UsedAs], ...]
    changed: tuple[str, ...]
    left: tuple[str, ...]
    full: bool
    calls_left_out: dict[str, int]
    scorers: tuple[str, ...]
    facts: dict[str, MemberFacts] = {}


class _Filled(Struct, frozen=True):
    group: Group
    tokens: int
    longest: int


def select_groups(
    connection: Connection,
    settings: Settings,
    scored: ScoredWindow,
    terms: CallTerms,
    inspect: InspectGroup,
    *,
    budget: int,
    at_least_one: bool,
    folder: Path,
    most_groups: int | None = None,
) -> Selection:
    """Read a window group by group until ``budget`` tokens are reached or nothing is left.

    ``most_groups``: at most so many, whatever the budget. ``folder``: where groups wait meanwhile.
    Each key yields one group before any yields a second one. Raises TrainingError where the trainer
    fails on the rows.
    """
    reading = _Reading(connection, settings, scored, terms, inspect, GroupsOnDisk(folder))
    return reading.until(budget, at_least_one=at_least_one, most_groups=most_groups)


class _Reading:
    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        scored: ScoredWindow,
        terms: CallTerms,
        inspect: InspectGroup,
        groups: GroupsOnDisk,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._groups = groups
        self._window = scored
        self._terms = terms
        self._inspect = inspect
        self._listed = scored_trajectories.list_unused(
            connection, scored.window, scored.reward_version, terms.policies.lineage
        )
        keyed = ((one.group_key, one) for one in self._listed)
        self._unread = {
            key: deque(members)
            for key, members in reading_order(keyed, settings.max_group_size).items()
        }
        self._settled_kinds = settled_kinds(
            ((one.group_key, one.reward, one.lost) for one in self._listed),
            settings.exploration_share,
        )
        self._join = CallJoin(connection, scored.window, JoinMode.CLAIM)
        self._outcomes = tripwires.outcomes(connection, scored.window)
        self._facts: dict[str, MemberFacts] = {}
        self._taken: set[str] = set()  # ids of the groups' members
        self._rejections: list[Rejection] = []
        self._used_up: list[tuple[str, UsedAs]] = []
        self._changed: list[str] = []
        self._calls_left_out: Counter[str] = Counter()
        self._of_other_label: set[str] = set()  # keys

    def until(self, budget: int, *, at_least_one: bool, most_groups: int | None) -> Selection:
        rows: list[int] = []
        tokens = 0
        while any(self._unread.values()):
            for key, unread in self._unread.items():
                if len(rows) == most_groups:
                    return self._made(rows, tokens, full=True)
                filled = self._fill(key, unread) if unread else None
                if filled is None:
                    continue
                if tokens + filled.tokens > budget and (rows or not at_least_one):
                    return self._made(rows, tokens, full=True)
                self._groups.append(filled.group)
                self._taken.update(member.trajectory_id for member in filled.group.members)
                rows.append(filled.longest)
                tokens += filled.tokens
        return self._made(rows, tokens, full=False)

    def _fill(self, key: str, unread: deque[ScoredTrajectory]) -> _Filled | None:
        """Build the next group of a key; None where the rest of it makes none."""
        size = next_size(len(unread), self._settings.max_group_size)
        listed: list[ScoredTrajectory] = []
        members: list[Member] = []
        tokens = longest = 0
        while unread and len(members) < size:
            wanted = min(size - len(members), len(unread))
            for portion in scored_trajectories.portions([unread.popleft() for _ in range(wanted)]):
                usable, more, row = self._read(key, portion)
                members += usable
                ids = {one.trajectory_id for one in usable}
                listed += [one for one in portion if one.trajectory_id in ids]
                tokens, longest = tokens + more, max(longest, row)
        why = self._teaches_nothing(key, listed)
        if why is None:
            return _Filled(Group(self._window.window, key, tuple(members)), tokens, longest)
        if key not in self._of_other_label:  # together with those it might make a group
            self._used_up += [(one.trajectory_id, why) for one in listed]
        return None

    def _teaches_nothing(self, key: str, listed: Sequence[ScoredTrajectory]) -> UsedAs | None:
        rewards = [one.reward for one in listed]
        activities = [one.activity for one in listed]
        why = teaches_nothing(rewards, activities, self._settings.min_reward_spread)
        if why is not None:
            return why
        if any(self._facts[one.trajectory_id].failed for one in listed):
            return None  # failing is nothing to explore
        sure = kind_of_key(key) in self._settled_kinds
        settled = sure and is_settled(rewards, self._settings.exploration_share)
        return UsedAs.SETTLED if settled else None

    def _read(self, key: str, portion: Sequence[ScoredTrajectory]) -> tuple[list[Member], int, int]:
        """Read the members that may be learned from, their tokens in all and their longest row."""
        ids = [one.trajectory_id for one in portion]
        rows = scored_trajectories.rows(self._connection, ids, self._settings.max_steps_bytes)
        pruned = consumption.began_in_pruned(self._connection, ids)
        current: list[tuple[float, Trajectory]] = []
        for one in portion:
            if one.trajectory_id in pruned:
                self._rejections.append(_of_pruned_hour(one.trajectory_id, pruned))
                continue
            compared = compare_with_score(
                one.trajectory_id,
                self._window.window,
                one.content_hash,
                rows.get(one.trajectory_id),
            )
            if isinstance(compared, Rejection):
                self._rejections.append(compared)
            elif isinstance(compared, RowChange):
                self._note_changed(one.trajectory_id)
            else:
                current.append((one.reward, compared))
        candidates = self._with_calls_that_fit(key, current)
        if not candidates:
            return [], 0, 0
        group = Group(self._window.window, key, tuple(candidates))
        inspected = self._inspect(group, self._terms.label)
        members = self._without_refused(candidates, inspected.refusals)
        if inspected.weights:
            (weight,) = inspected.weights
            return members, weight.tokens, weight.longest
        return members, estimated_tokens(members), 0

    def _with_calls_that_fit(
        self, key: str, current: Sequence[tuple[float, Trajectory]]
    ) -> list[Member]:
        candidates = []
        rewards = [reward for reward, _ in current]
        joined = self._join.join([trajectory for _, trajectory in current])
        for reward, one in zip(rewards, joined, strict=True):
            selected = select_calls(one.trajectory, self._terms, one.ambiguous)
            self._calls_left_out.update(selected.reasons)
            if selected.places:
                candidates.append(member(one.trajectory, reward, selected.places))
                facts = member_facts(one.trajectory, self._outcomes)
                self._facts[one.trajectory.trajectory_id] = facts
            elif selected.other_label:
                self._of_other_label.add(key)
            else:
                self._rejections.append(refuse(one.trajectory, selected.reasons))
        return candidates

    def _note_changed(self, trajectory_id: str) -> None:
        if self._window.changes < MAX_CHANGES:
            self._changed.append(trajectory_id)
            return
        detail = f"its row has changed again; it was scored anew {MAX_CHANGES} times for that"
        self._rejections.append(Rejection(trajectory_id, Stage.DATASET, Reason.CHANGED, detail))

    def _without_refused(
        self, candidates: Sequence[Member], refusals: Sequence[Refusal]
    ) -> list[Member]:
        refused: dict[str, dict[int, Refusal]] = {}
        for refusal in refusals:
            refused.setdefault(refusal.trajectory_id, {})[refusal.call] = refusal
        members = []
        for one in candidates:
            against = refused.get(one.trajectory_id, {})
            self._calls_left_out.update(refusal.reason for refusal in against.values())
            if len(against) < len(one.calls):
                members.append(without(one, against) if against else one)
                continue
            reason, _ = Counter(refusal.reason for refusal in against.values()).most_common(1)[0]
            first = next(refusal for refusal in against.values() if refusal.reason == reason)
            self._rejections.append(
                Rejection(one.trajectory_id, Stage.DATASET, reason, first.detail)
            )
        return members

    def _made(self, rows: Sequence[int], tokens: int, *, full: bool) -> Selection:
        for result, count in self._join.results.items():
            metrics.CALLS_JOINED.labels(result).inc(count)
        gone = set(self._taken)
        facts = {trajectory_id: self._facts[trajectory_id] for trajectory_id in gone}
        gone.update(rejection.trajectory_id for rejection in self._rejections)
        gone.update(trajectory_id for trajectory_id, _ in self._used_up)
        gone.update(self._changed)
        return Selection(
            window=self._window.window,
            reward_version=self._window.reward_version,
            groups=self._groups,
            tokens=tokens,
            longest=max(rows) if rows and all(rows) else 0,
            rejections=tuple(self._rejections),
            used_up=tuple(self._used_up),
            changed=tuple(self._changed),
            left=tuple(o.trajectory_id for o in self._listed if o.trajectory_id not in gone),
            full=full,
            calls_left_out=dict(sorted(self._calls_left_out.items())),
            scorers=tuple(sorted({one.scorer for one in self._listed})),
            facts=facts,
        )


def _of_pruned_hour(trajectory_id: str, pruned: Mapping[str, str]) -> Rejection:
    detail = f"it began in {pruned[trajectory_id]}, whose rows are pruned: it may have been used"
    return Rejection(trajectory_id, Stage.DATASET, Reason.HOUR_PRUNED, detail)
