"""What is in the database, what of it is trainable, and why the rest is not. Writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing

from msgspec import Struct

from babylon_tasks.dataset.ancestry import ages
from babylon_tasks.dataset.freshness import Policies, Unfit, exact, label
from babylon_tasks.db import babylon, lineages
from babylon_tasks.db.outcomes import OutcomeBook
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.db.verify import Held, is_migrated, judged, overview
from babylon_tasks.decode import decode
from babylon_tasks.errors import BadWindowId
from babylon_tasks.records import Evidence, LlmCall, Rejection, Score
from babylon_tasks.scoring.base import Scorer
from babylon_tasks.scoring.choice import Scorers
from babylon_tasks.scoring.evidence import evidence
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState
from babylon_tasks.windows import window_start

_NEVER_TRAINED = (WindowState.HELD_OUT, WindowState.SKIPPED, WindowState.FAILED)


class WindowData(Struct, frozen=True):
    """One window. ``rejected``: trajectories by the reason why they are not usable.

    ``state`` is None where the window has not been discovered. ``exact`` counts usable
    trajectories with logprobs; None for a window already scored, whose text is not read again.
    """

    window: str
    state: str | None
    reason: str | None
    trajectories: int
    agents: int
    usable: int
    trainable: int
    exact: int | None
    rejected: dict[str, int]


class DataReport(Struct, frozen=True):
    """All windows, newest first, and their sums; ``truncated``: there are older ones."""

    windows: tuple[WindowData, ...]
    trajectories: int
    usable: int
    trainable: int
    rejected: dict[str, int]
    truncated: bool


def verify_data(
    settings: Settings,
    *,
    since: str | None = None,
    limit: int = 1000,
    on_progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Look at every window from ``since`` (a window id) on; raises BadWindowId, DatabaseError.

    Windows already scored are reported as they were judged; the others are read, decoded and
    scored as they would be, and thrown away. ``on_progress`` gets (windows done, of). A database
    that has not been migrated yet is only Babylon's rows: it can be looked at before it is touched.
    """
    if since is not None:
        window_start(since)
    scorers = Scorers(settings)
    found: list[WindowData] = []
    with session(settings) as connection:
        babylon.require(connection)
        migrated = is_migrated(connection)
        policies = _policies(connection, settings, migrated=migrated)
        windows = overview(connection, since, limit + 1, migrated=migrated)
        truncated = len(windows) > limit
        for held in windows[:limit]:
            found.append(_looked_at(settings, connection, held, scorers, policies))
            if on_progress is not None:
                on_progress(len(found), min(len(windows), limit))
    rejected: Counter[str] = Counter()
    for window in found:
        rejected.update(window.rejected)
    return DataReport(
        windows=tuple(found),
        trajectories=sum(window.trajectories for window in found),
        usable=sum(window.usable for window in found),
        trainable=sum(window.trainable for window in found),
        rejected=dict(rejected.most_common()),
        truncated=truncated,
    )


def _looked_at(
    settings: Settings, connection: Connection, held: Held, scorers: Scorers, policies: Policies
) -> WindowData:
    with_logprobs: int | None = None
    if held.judged:
        usable, rejected = judged(connection, held)
    else:
        usable, with_logprobs, rejected = _tried(settings, connection, held, scorers, policies)
    return WindowData(
        window=held.window,
        state=held.state,
        reason=held.reason,
        trajectories=held.trajectories,
        agents=held.agents,
        usable=usable,
        trainable=0 if held.state in _NEVER_TRAINED else usable,
        exact=with_logprobs,
        rejected=rejected,
    )


def _tried(
    settings: Settings, connection: Connection, held: Held, scorers: Scorers, policies: Policies
) -> tuple[int, int, dict[str, int]]:
    try:
        window_start(held.window)
    except BadWindowId:  # no hour to be found by: discovery passes over it as well
        return 0, 0, {"bad_window_id": held.trajectories}
    rejected: Counter[str] = Counter()
    shown: list[Evidence] = []
    archetypes: list[str | None] = []
    faults: list[str | None] = []
    recorded_exactly: list[bool] = []
    book = OutcomeBook(connection, held.window)
    with (
        session(settings) as reading,
        closing(stream_window(reading, held.window, settings)) as batches,
    ):
        for batch in batches:
            decoded = [decode(raw) for raw in batch]
            trajectories = [one for one in decoded if not isinstance(one, Rejection)]
            rejected.update(one.reason for one in decoded if isinstance(one, Rejection))
            outcomes = book.covering(trajectories)
            for trajectory in trajectories:
                shown.append(evidence(trajectory, outcomes))
                archetypes.append(trajectory.archetype)
                faults.append(_commonest_fault(trajectory.calls, settings, policies))
                recorded_exactly.append(any(map(exact, trajectory.calls)))
    usable = with_logprobs = 0
    scores = _scores(scorers, shown, archetypes)
    for score, reason, has_logprobs in zip(scores, faults, recorded_exactly, strict=True):
        if score is None:
            rejected["no_evidence"] += 1
        elif reason is not None:
            rejected[reason] += 1
        else:
            usable += 1
            with_logprobs += has_logprobs
    return usable, with_logprobs, dict(rejected.most_common())


def _scores(
    scorers: Scorers, shown: Sequence[Evidence], archetypes: Sequence[str | None]
) -> list[Score | None]:
    by_scorer: dict[Scorer, list[int]] = {}
    for number, archetype in enumerate(archetypes):
        by_scorer.setdefault(scorers.scorer_for(archetype), []).append(number)
    scores: list[Score | None] = [None] * len(shown)
    for scorer, members in by_scorer.items():
        found = scorer.rewards([shown[number] for number in members], shown)
        for number, score in zip(members, found, strict=True):
            scores[number] = score
    return scores


def _commonest_fault(
    calls: Sequence[LlmCall], settings: Settings, policies: Policies
) -> str | None:
    """Why the next step would not take a trajectory; None where it takes a call of it."""
    faults = [_fault(call, settings, policies) for call in calls]
    return None if None in faults else Counter(faults).most_common(1)[0][0]


def _policies(connection: Connection, settings: Settings, *, migrated: bool) -> Policies:
    lineage = lineages.get(connection, settings.lineage) if migrated else None
    if lineage is None:
        return Policies(settings.lineage, settings.base_model, 0, {}, parent_step=0)
    serving, head = lineage.serving_step, lineage.head_step
    return Policies(
        lineage.name,
        lineage.base_model,
        head,
        lineages.inference_names(connection, lineage.name),
        serving,
        ages(serving, head, lineages.parents(connection, lineage.name)),
        serving,
    )


def _fault(call: LlmCall, settings: Settings, policies: Policies) -> str | None:
    found = label(call, policies, settings.labels, max_staleness_steps=settings.max_staleness_steps)
    return found.reason if isinstance(found, Unfit) else None
