"""Select the answers that a supervised step learns from: the better part of each group.

Whoever answered. The lists of the newest hours are read first, then the texts of what is chosen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from msgspec import Struct, structs

from babylon_tasks.dataset.better_part import better_part, why_left_out
from babylon_tasks.dataset.groups import rank, teaches_nothing
from babylon_tasks.dataset.row_changes import RowChange, compare_with_score
from babylon_tasks.dataset.schedule import estimated_tokens
from babylon_tasks.dataset.select_calls import member
from babylon_tasks.dataset.tripwires.facts import member_facts
from babylon_tasks.dataset.tripwires.watched import MemberFacts
from babylon_tasks.db import consumption, due_windows, scored_trajectories, tripwires
from babylon_tasks.db.due_windows import RewardedWindow
from babylon_tasks.db.scored_trajectories import ComparedTrajectory
from babylon_tasks.db.session import Connection
from babylon_tasks.reasons import LeftOut, Reason
from babylon_tasks.records import Group, Member, Outcomes, Rejection, Trajectory
from babylon_tasks.settings import Settings


class SelectedAnswers(Struct, frozen=True):
    """The groups of chosen trajectories, and the reward versions of their windows.

    ``models`` counts the calls by the model that was recorded; ``left_out`` counts trajectories by
    reason, and for ``tools``, ``images``, ``cut_off``, ``no_answer`` and ``too_long`` calls of
    others, too. ``too_long`` names the trajectories of those calls. ``more``: the limit was reached
    before the last hour. ``facts`` of the chosen trajectories are for the tripwires.
    """

    groups: tuple[Group, ...]
    reward_versions: dict[str, int]
    scorers: tuple[str, ...]
    models: dict[str, int]
    left_out: dict[str, int]
    too_long: tuple[str, ...]
    more: bool
    facts: dict[str, MemberFacts] = {}

    @property
    def members(self) -> list[Member]:
        """All chosen trajectories, in order."""
        return [one for group in self.groups for one in group.members]

    def of_window(self, window: str) -> AnswersOfWindow:
        """Return what was chosen of one window."""
        groups = tuple(group for group in self.groups if group.window_id == window)
        version = self.reward_versions[window]
        return AnswersOfWindow(window, version, groups, self.facts, self.scorers)

    def without(self, windows: Collection[str]) -> SelectedAnswers:
        """Leave out windows that are tripped."""
        kept = tuple(group for group in self.groups if group.window_id not in windows)
        members = [one for group in kept for one in group.members]
        left_out = len(self.members) - len(members)
        return structs.replace(
            self,
            groups=kept,
            reward_versions={
                window: version
                for window, version in self.reward_versions.items()
                if window not in windows
            },
            models=dict(Counter(call.model for m in members for call in m.calls).most_common()),
            left_out=self.left_out | ({LeftOut.TRIPPED: left_out} if left_out else {}),
        )


class AnswersOfWindow(Struct, frozen=True):
    """What was chosen of one window, as the tripwires look at it."""

    window: str
    reward_version: int
    groups: tuple[Group, ...]
    facts: dict[str, MemberFacts]
    scorers: tuple[str, ...]


def select_answers(
    connection: Connection,
    settings: Settings,
    *,
    since: datetime | None,
    top_share: float,
    longest: int,
) -> SelectedAnswers:
    """Choose at most ``supervised_calls`` calls of the newest hours; writes nothing.

    ``longest``: the most tokens of a call.
    """
    selecting = _Selecting(connection, settings, top_share, longest)
    for window in due_windows.rewarded(connection, lineage=settings.lineage, since=since):
        if not selecting.add(window):
            break
    return selecting.selected()


class _Selecting:
    def __init__(
        self, connection: Connection, settings: Settings, top_share: float, longest: int
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._top_share = top_share
        self._longest = longest
        self._groups: list[Group] = []
        self._versions: dict[str, int] = {}
        self._scorers: set[str] = set()
        self._models: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._too_long_of: dict[str, None] = {}  # in order
        self._more = False
        self._facts: dict[str, MemberFacts] = {}

    def add(self, window: RewardedWindow) -> bool:
        """Add the better part of a window's groups; False where the limit is reached."""
        listed = scored_trajectories.list_all(
            self._connection, window.window, window.reward_version, self._settings.lineage
        )
        outcomes = tripwires.outcomes(self._connection, window.window)
        by_key: defaultdict[str, list[ComparedTrajectory]] = defaultdict(list)
        for one in listed:
            by_key[one.group_key].append(one)
        for key in sorted(by_key, key=rank):
            members = self._read(window, self._chosen(by_key[key]), outcomes)
            if members:
                self._groups.append(Group(window.window, key, tuple(members)))
                self._versions[window.window] = window.reward_version
            if self._more:
                return False
        return True

    def selected(self) -> SelectedAnswers:
        return SelectedAnswers(
            groups=tuple(sorted(self._groups, key=lambda group: group.window_id)),
            reward_versions=self._versions,
            scorers=tuple(sorted(self._scorers)),
            models=dict(self._models.most_common()),
            left_out=dict(self._left_out.most_common()),
            too_long=tuple(self._too_long_of),
            more=self._more,
            facts=self._facts,
        )

    def _chosen(self, compared: Sequence[ComparedTrajectory]) -> list[ComparedTrajectory]:
        why = teaches_nothing(
            [one.reward for one in compared],
            [one.activity for one in compared],
            self._settings.min_reward_spread,
        )
        if why is not None:
            self._left_out[why] += len(compared)
            return []
        better = better_part(compared, self._top_share)
        self._left_out += Counter({LeftOut.NOT_BETTER: len(compared) - len(better)})
        unused = [one for one in better if not one.used]
        self._left_out += Counter({LeftOut.USED: len(better) - len(unused)})
        return unused

    def _read(
        self, window: RewardedWindow, chosen: Sequence[ComparedTrajectory], outcomes: Outcomes
    ) -> list[Member]:
        members: list[Member] = []
        for portion in scored_trajectories.portions(chosen):
            ids = [one.trajectory_id for one in portion]
            rows = scored_trajectories.rows(self._connection, ids, self._settings.max_steps_bytes)
            pruned = consumption.began_in_pruned(self._connection, ids)
            for one in portion:
                if one.trajectory_id in pruned:
                    self._left_out[Reason.HOUR_PRUNED] += 1
                    continue
                current = compare_with_score(
                    one.trajectory_id, window.window, one.content_hash, rows.get(one.trajectory_id)
                )
                if isinstance(current, Rejection):
                    self._left_out[current.reason] += 1
                elif isinstance(current, RowChange):
                    self._left_out[Reason.CHANGED] += 1
                elif (made := self._learnable(current, one.reward)) is not None:
                    if self._full(made):
                        return members
                    members.append(made)
                    self._facts[one.trajectory_id] = member_facts(current, outcomes)
                    self._models.update(call.model for call in made.calls)
                    self._scorers.add(one.scorer)
        return members

    def _learnable(self, trajectory: Trajectory, reward: float) -> Member | None:
        places = []
        for place, call in enumerate(trajectory.calls):
            why = why_left_out(call) or self._too_long(member(trajectory, reward, [place]))
            if why is None:
                places.append(place)
            else:
                self._left_out[why] += 1
                if why is Reason.TOO_LONG:
                    self._too_long_of[trajectory.trajectory_id] = None
        return member(trajectory, reward, places) if places else None

    def _too_long(self, one: Member) -> Reason | None:
        # Roughly: the trainer counts, and refuses the step where the estimate was too low.
        return Reason.TOO_LONG if estimated_tokens([one]) > self._longest else None

    def _full(self, more: Member) -> bool:
        taken = self._models.total()
        self._more = bool(taken) and taken + len(more.calls) > self._settings.supervised_calls
        return self._more
