"""Report what is in the database, what of it is trainable, and why the rest is not. Read-only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from msgspec import Struct

from babylon_tasks.dataset.eligibility import Policies, policy_step
from babylon_tasks.db import babylon, outcomes, step_windows
from babylon_tasks.db.data_report import (
    RecordedWindow,
    decided,
    for_a_warm_start,
    is_migrated,
    overview,
)
from babylon_tasks.db.session import LONG_SECONDS, Connection, session
from babylon_tasks.pipeline.dry_run import DryRun, read
from babylon_tasks.pipeline.planning_outlook import PlanningOutlook, look_ahead, start_of
from babylon_tasks.pipeline.recorded_counts import RecordedCounts
from babylon_tasks.reasons import Reason, UnopenedReason
from babylon_tasks.records import LlmCall
from babylon_tasks.scoring.choice import Scorers
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState
from babylon_tasks.windows import window_start

_NEVER_TRAINED = (WindowState.HELD_OUT, WindowState.SKIPPED, WindowState.FAILED)
_MODELS = 10  # that are named per window
_WORDS = 50  # of outcomes that are named


class WindowData(Struct, frozen=True):
    """One window. ``rejected``: trajectories by the reason why they are not usable.

    ``state`` is None where the window has not been opened, and ``reason`` why, if that is on
    record. ``trainable``: usable, and not held out. Where planning will close the window as stale,
    only what steps took of it is usable. ``exact`` counts usable trajectories with logprobs; None
    for a window already scored, which is reported as it was scored. ``for_warm_start`` counts those
    that a supervised step may choose from, whoever answered. ``bets_known`` and
    ``bets_unknown`` count the trades with and without an outcome, ``models`` the calls by model,
    the most frequent ones only.
    """

    window: str
    state: str | None
    reason: str | None
    trajectories: int
    agents: int
    usable: int
    trainable: int
    exact: int | None
    for_warm_start: int
    rejected: dict[str, int]
    bets_known: int
    bets_unknown: int
    models: dict[str, int]


class AskedModel(Struct, frozen=True):
    """A model by its recorded name; ``whose`` is ``base model``, ``lineage`` or None (others)."""

    name: str
    calls: int
    whose: str | None


class DataReport(Struct, frozen=True):
    """All windows, newest first, and their sums; ``truncated``: older ones exist.

    ``unknown_...``: recorded words that are not understood, with their counts. ``captures``: calls
    without token ids, by how the search for what the gateway captured of them ended.
    """

    windows: tuple[WindowData, ...]
    trajectories: int
    usable: int
    trainable: int
    for_warm_start: int
    rejected: dict[str, int]
    bets_known: int
    bets_unknown: int
    models: tuple[AskedModel, ...]
    unknown_actions: dict[str, int]
    unknown_sides: dict[str, int]
    unknown_outcomes: dict[str, int]
    captures: dict[str, int]
    warnings: tuple[str, ...]
    truncated: bool


def verify_data(
    settings: Settings,
    *,
    since: str | None = None,
    limit: int = 1000,
    on_progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Report on every window from ``since`` (a window id) on; raises BadWindowId, DatabaseError.

    All are read and decoded. Windows already scored are reported as they were scored; the others
    are scored now, and the result is discarded. ``on_progress`` gets (windows done, windows in
    all). Works before the first migration too: then there are only Babylon's rows.
    """
    if since is not None:
        window_start(since)
    scorers = Scorers(settings)
    reports: list[WindowData] = []
    every = RecordedCounts()
    warnings: list[str] = []
    with session(settings, silence=LONG_SECONDS) as connection:
        babylon.require(connection)
        migrated = is_migrated(connection)
        windows = overview(connection, since, limit + 1, migrated=migrated)
        truncated = len(windows) > limit
        outlook = look_ahead(connection, settings, windows, migrated=migrated)
        policies = outlook.policies
        warnings += outlook.warn(windows[:limit])
        for row in windows[:limit]:
            dry_run = _read(settings, connection, row, policies)
            reports.append(_looked_at(connection, row, dry_run, scorers, outlook))
            every.join(dry_run.recorded)
            warnings += _unmatched(row.window, dry_run.recorded)
            if on_progress is not None:
                on_progress(len(reports), min(len(windows), limit))
        unknown_outcomes = outcomes.not_understood(connection, since, _WORDS)
        if babylon.missing(connection, "market_outcomes"):
            warnings.append("Babylon has no table market_outcomes: no bet has an outcome")
    rejected: Counter[str] = Counter()
    for window in reports:
        rejected.update(window.rejected)
    return DataReport(
        windows=tuple(reports),
        trajectories=sum(window.trajectories for window in reports),
        usable=sum(window.usable for window in reports),
        trainable=sum(window.trainable for window in reports),
        for_warm_start=sum(window.for_warm_start for window in reports),
        rejected=dict(rejected.most_common()),
        bets_known=every.known,
        bets_unknown=every.bets - every.known,
        models=tuple(
            AskedModel(name, calls, _whose(name, policies))
            for name, calls in every.models.most_common()
        ),
        unknown_actions=dict(every.actions.most_common()),
        unknown_sides=dict(every.sides.most_common()),
        unknown_outcomes=unknown_outcomes,
        captures=dict(every.captures.most_common()),
        warnings=(*warnings, *_strange(every, unknown_outcomes)),
        truncated=truncated,
    )


def _unmatched(window: str, recorded: RecordedCounts) -> Iterator[str]:
    if recorded.trades and not recorded.known:
        why = []
        if recorded.bets:
            why.append(f"{recorded.bets} have no outcome in market_outcomes")
        if recorded.sides:
            why.append(f"{recorded.sides.total()} have an unknown side")
        yield (
            f"{window}: none of {recorded.trades} trades could be matched to an outcome: "
            f"{', '.join(why)}"
        )


def _strange(every: RecordedCounts, unknown_outcomes: dict[str, int]) -> Iterator[str]:
    """Warn about what is not understood, with the consequence."""
    if every.actions:
        yield (
            f"{every.actions.total()} actions have unknown names: they count as activity, but not "
            "as trades, posts or bets"
        )
    if every.sides:
        yield f"{every.sides.total()} trades have an unknown side: they do not count as bets"
    if every.misnamed:
        yield (
            f"{every.misnamed} joined calls have a system prompt in which "
            "BABYLON_GATEWAY_AGENT_PATTERN found a name other than their agent's id: joining "
            "ignores it, but arms are drawn by that name"
        )
    if unknown_outcomes:
        yield (
            f"{sum(unknown_outcomes.values())} outcomes are neither YES nor NO: their markets "
            "count as not ended"
        )


def _whose(model: str, policies: Policies) -> str | None:
    if model in (policies.base_model, *policies.base_model_aliases):
        return "base model"
    asked = LlmCall(model=model, messages=(), response="", temperature=1.0)
    return None if policy_step(asked, policies) == Reason.OTHER_POLICY else "lineage"


def _looked_at(
    connection: Connection,
    row: RecordedWindow,
    dry_run: DryRun,
    scorers: Scorers,
    outlook: PlanningOutlook,
) -> WindowData:
    exactly: int | None = None
    never = row.state in _NEVER_TRAINED or outlook.is_held_out(row)
    if row.decided:
        for_warm_start = for_a_warm_start(connection, row, lineage=outlook.policies.lineage)
        usable, rejected = decided(connection, row, lineage=outlook.policies.lineage)
        if row.pruned:
            came_later = row.trajectories - usable - sum(rejected.values())
            rejected = _with(rejected, Reason.HOUR_PRUNED, came_later)
    else:
        found = dry_run.usable(scorers)
        usable, exactly, rejected = found.usable, found.exact, found.rejected
        for_warm_start = 0 if never else found.for_warm_start
    if outlook.closes(row):
        stale, exactly = usable, exactly and 0
        if row.decided:  # steps may have taken some of it
            stale = step_windows.left_over(connection, row.window, outlook.policies.lineage)
        usable, rejected = usable - stale, _with(rejected, Reason.STALE, stale)
    recorded = dry_run.recorded
    return WindowData(
        window=row.window,
        state=row.state,
        reason=row.reason,
        trajectories=row.trajectories,
        agents=row.agents,
        usable=usable,
        trainable=0 if never else usable,
        exact=exactly,
        for_warm_start=for_warm_start,
        rejected=rejected,
        bets_known=recorded.known,
        bets_unknown=recorded.bets - recorded.known,
        models=dict(recorded.models.most_common(_MODELS)),
    )


def _with(rejected: dict[str, int], reason: Reason, more: int) -> dict[str, int]:
    counted = Counter(rejected) + Counter({reason: more})  # of what is positive
    return dict(counted.most_common())


def _read(
    settings: Settings, connection: Connection, row: RecordedWindow, policies: Policies
) -> DryRun:
    if start_of(row.window) is None:
        return DryRun(RecordedCounts(), Counter({UnopenedReason.BAD_WINDOW_ID: row.trajectories}))
    return read(settings, connection, row.window, policies)
