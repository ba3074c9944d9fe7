"""Plan the next training step: its windows, their groups, the parent and the manifest."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from babylon_tasks import __version__
from babylon_tasks.dataset import manifest as manifests
from babylon_tasks.dataset.checkpoint_tree import depth
from babylon_tasks.dataset.eligibility import policies_of
from babylon_tasks.dataset.manifest import Manifest
from babylon_tasks.dataset.schedule import learning_rate
from babylon_tasks.dataset.select_calls import CallTerms
from babylon_tasks.dataset.training_config import training_config
from babylon_tasks.dataset.training_defaults import TrainingValues
from babylon_tasks.db import consumption, due_windows, lineages, step_windows, steps
from babylon_tasks.db.consumption import Use
from babylon_tasks.db.due_windows import ScoredWindow
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.db.steps import Step
from babylon_tasks.db.tripwires import FoundTrips
from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.groups_on_disk import GroupsOnDisk
from babylon_tasks.pipeline.inspect_candidates import Inspection
from babylon_tasks.pipeline.record_selection import close_outdated, close_window, record_selection
from babylon_tasks.pipeline.select_groups import InspectGroup, Selection, select_groups
from babylon_tasks.pipeline.selection_figures import informative_share, longest_row
from babylon_tasks.pipeline.trip import let_through, report
from babylon_tasks.reasons import UsedAs
from babylon_tasks.records import Group
from babylon_tasks.registry import refusals
from babylon_tasks.settings import Settings

# The most scored windows that one call considers.
_WINDOWS_AT_ONCE = 50
# How often to plan again after a window was scored anew meanwhile.
_PLANS = 3


class Planned(Struct, frozen=True):
    """``step`` is None if nothing is trainable; ``skipped``: window to reason."""

    step: Step | None
    groups: Sequence[Group]
    skipped: dict[str, str]


class _Chosen(Struct, frozen=True):
    label: str
    selections: list[Selection]
    found: list[FoundTrips]

    @property
    def groups(self) -> GroupsOnDisk:
        return GroupsOnDisk.joined([found.groups for found in self.selections])


class Planner:
    """Plans one step under a lease; ``skipped`` collects the windows that it leaves out, and why.

    It starts from the serving weights.
    """

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        lease: Lease,
        *,
        backend: str,
        head_step: int,
        inspect: InspectGroup,
        values: TrainingValues,
        actor: str,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._lease = lease
        self._backend = backend
        self._head_step = head_step
        self._inspect = inspect
        self._values = values
        self._actor = actor
        self._parents = lineages.parents(connection, settings.lineage)
        self._policies = policies_of(
            settings,
            head_step=head_step,
            serving_step=lease.serving_step,
            inference_names=lineages.inference_names(connection, settings.lineage),
            come_again=lineages.names_come_again(connection, settings.lineage),
            parents=self._parents,
        )
        self._refusals = refusals.count(connection, settings.lineage, self._policies.parent_step)
        self._moved = False  # whether a window was scored anew while it was read
        self.skipped: dict[str, str] = {}

    def plan(self, window: str | None) -> Planned:
        """Plan from the given window, or the oldest that no step has used, and claim the data.

        Other scored ones join up to ``max_windows_per_step`` and ``step_token_budget``. What
        exceeds the budget is left over for later steps. A window whose training has failed before
        is tried alone: it may be the cause; so is one that did not fit into memory, and in parts.
        Raises StaleLease, TrainingError if the trainer fails on it: this counts as an attempt if
        the fault is the window's.
        """
        self.skipped.update(
            close_outdated(self._connection, self._settings, self._lease, actor=self._actor)
        )
        for _ in range(_PLANS):
            self._moved = False
            chosen = self._choose(window)
            if chosen is None and self._moved:
                continue
            if chosen is None:
                break
            made = self._manifest(chosen)
            step = steps.plan(
                self._connection,
                self._lease,
                backend=self._backend,
                windows={found.window: found.reward_version for found in chosen.selections},
                manifest=manifests.canonical(made),
                manifest_hash=manifests.manifest_hash(made),
                uses=[
                    Use(entry.trajectory_id, entry.reward_version, where, UsedAs.TRAINED)
                    for where, entry in made.entries
                ],
                actor=self._actor,
                members=chosen.groups.packed() if self._settings.keep_replay_days else None,
                noted=self._refusals.noted or None,
                found=chosen.found,
            )
            if step is not None:
                for found in chosen.found:
                    report(self._settings.lineage, found)
                return Planned(step, chosen.groups, self.skipped)
        return Planned(None, (), self.skipped)

    def _choose(self, window: str | None) -> _Chosen | None:
        connection, settings = self._connection, self._settings
        labels = settings.labels
        selections: list[Selection] = []
        examined: list[FoundTrips] = []
        tokens = 0
        for scored in self._queue(window):
            inspect = Inspection(
                connection, settings, self._lease, scored.window, self._inspect, actor=self._actor
            )
            if selections and (scored.attempts or inspect.alone):
                continue
            budget = settings.step_token_budget - tokens
            label, selection = self._select(
                scored, labels, inspect, budget, at_least_one=not selections
            )
            if selection is None:
                self._moved = True
                continue
            if not selection.groups:
                if selection.full:
                    break
                if labels == settings.labels:
                    self._skip(selection)
                    if scored.window == window:
                        break  # the caller requested this one
                continue
            found = let_through(connection, settings, self._lease, selection, actor=self._actor)
            if isinstance(found, str):
                self.skipped[selection.window] = found
                if scored.window == window:
                    break
                continue
            selections.append(selection)
            examined.append(found)
            labels = (label,)
            tokens += selection.tokens
            if (
                selection.full
                or scored.attempts
                or inspect.alone
                or len(selections) == settings.max_windows_per_step
            ):
                break
        selections.sort(key=lambda selection: selection.window)
        return _Chosen(labels[0], selections, examined) if selections else None

    def _queue(self, window: str | None) -> list[ScoredWindow]:
        listed = due_windows.scored(
            self._connection, _WINDOWS_AT_ONCE, lineage=self._lease.lineage, first=window
        )
        if window is not None and (not listed or listed[0].window != window):
            return []  # taken meanwhile, or it waits
        return listed

    def _select(
        self,
        scored: ScoredWindow,
        labels: Sequence[str],
        inspect: Inspection,
        budget: int,
        *,
        at_least_one: bool,
    ) -> tuple[str, Selection | None]:
        """Select a window's groups of the first label that has any; record what is refused.

        Returns None if the window is no longer scored.
        """
        label, selection = "", None
        folder = self._settings.data_dir.absolute() / self._lease.lineage / "plans"
        for label in labels:
            terms = CallTerms(
                self._policies,
                label,
                self._settings.labels,
                self._settings.max_staleness_steps,
                scored.window,
            )
            try:
                selection = select_groups(
                    self._connection,
                    self._settings,
                    scored,
                    terms,
                    inspect,
                    budget=budget,
                    at_least_one=at_least_one,
                    most_groups=inspect.most_groups,
                    folder=folder,
                )
            except TrainingError as error:
                if not error.fault.uses_up_attempts:
                    raise
                step_windows.count_failure(
                    self._connection,
                    self._lease,
                    scored.window,
                    str(error),
                    self._settings,
                    actor=self._actor,
                )
                raise
            if selection.full and not selection.groups:
                break  # nothing of it fits into this step
            if not record_selection(self._connection, self._lease, selection, actor=self._actor):
                return label, None
            if selection.groups:
                break
        return label, selection

    def _skip(self, selection: Selection) -> None:
        reason = close_window(self._connection, self._lease, selection, actor=self._actor)
        if reason is not None:
            self.skipped[selection.window] = reason

    def _manifest(self, chosen: _Chosen) -> Manifest:
        settings, values, selections = self._settings, self._values, chosen.selections
        windows = [selection.window for selection in selections]
        used_up = consumption.used_up_since(self._connection, self._lease.lineage, windows)
        return Manifest(
            lineage=settings.lineage,
            base_model=settings.base_model,
            base_step=self._head_step,
            parent_step=self._policies.parent_step,
            serving_step=self._lease.serving_step,
            code_version=__version__,
            scorer=", ".join(
                sorted({scorer for selection in selections for scorer in selection.scorers})
            ),
            logprobs=chosen.label,
            config=training_config(
                settings,
                values,
                rate=learning_rate(
                    depth(self._policies.parent_step, self._parents),
                    informative_share(selections, used_up),
                    values,
                    settings,
                    refused=self._refusals.halvings,
                ),
                longest=longest_row(selections),
            ),
            groups=manifests.list_groups(
                chosen.groups.hashed(),
                {selection.window: selection.reward_version for selection in selections},
            ),
        )
