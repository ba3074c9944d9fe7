"""Read-only answers for people: the state of the system, the history of a window, the models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from babylon_tasks.db import (
    circuits,
    lineage_windows,
    lineages,
    pauses,
    promotions,
    reward_versions,
    set_aside,
    tripwires,
    unopened_windows,
    windows,
)
from babylon_tasks.db.circuits import Circuit
from babylon_tasks.db.lineage_windows import LineageWindow
from babylon_tasks.db.lineages import Lineage
from babylon_tasks.db.pauses import Pause
from babylon_tasks.db.promotions import Promotion
from babylon_tasks.db.reward_versions import RewardVersion, WaitingForOutcomes
from babylon_tasks.db.session import Connection
from babylon_tasks.db.set_aside import SetAside
from babylon_tasks.db.sql import fetch_all, fetch_one, fetch_pairs, fetch_value
from babylon_tasks.db.tripwires import TripRow
from babylon_tasks.db.unopened_windows import UnopenedWindows
from babylon_tasks.db.windows import Window
from babylon_tasks.decisions import Decision
from babylon_tasks.states import StepMethod


class Event(Struct, frozen=True):
    """One event; ``target_step``: the step it is about."""

    happened_at: datetime
    kind: str
    actor: str
    lineage: str | None
    target_step: int | None
    detail: dict[str, Any]


class RejectionCount(Struct, frozen=True):
    """A reason and how often it occurred, with one trajectory and its detail as the example."""

    stage: str
    reason: str
    count: int
    example: str
    detail: str | None


class StepReport(Struct, frozen=True):
    """A training step, from its row."""

    id: int
    lineage: str
    base_step: int
    target_step: int
    state: str
    attempts: int
    backend: str
    windows: list[str]
    gradient_steps: int | None
    trainable_tokens: int | None
    metrics: dict[str, Any] | None
    progress: dict[str, Any] | None
    error: str | None
    planned_at: datetime
    started_at: datetime | None
    committed_at: datetime | None
    failed_at: datetime | None
    method: StepMethod = StepMethod.GRPO


class EvaluationReport(Struct, frozen=True):
    """A checkpoint's mean value on the held-out groups of one set."""

    step: int
    value: float
    coverage: float
    groups: int
    set_hash: str
    evaluated_at: datetime


class WindowHistory(Struct, frozen=True):
    """Everything that happened to a window, in order, with its results, for a lineage or for all.

    ``waits_for``: markets of its bets without a known outcome. ``rejections`` are those of the
    newest of its ``reward_versions``. ``trouble``: what is wrong with the files of the lineage that
    is to train it. ``lineages``: what each has done with it, where there is more than one.
    ``tripwires``: what tripped before a step took it, or was to take it. ``answers``: what those
    that the newest step took came to, by kind of question (``dataset/diversity.py``).
    """

    window: Window
    waits_for: list[str]
    reward_versions: list[RewardVersion]
    events: list[Event]
    rejections: list[RejectionCount]
    uses: dict[str, int]
    steps: list[StepReport]
    evaluations: list[EvaluationReport]
    trouble: str | None = None
    lineages: list[LineageWindow] = []
    tripwires: list[TripRow] = []
    answers: dict[str, Any] = {}


class DueWindow(Struct, frozen=True):
    """A window that scoring or a first step is due for; ``since``: when its row changed last."""

    window: str
    state: str
    since: datetime


class FailedWindow(Struct, frozen=True):
    """A window that waits for `babylon-tasks windows retry`."""

    window: str
    reason: str | None


class CapturedHour(Struct, frozen=True):
    """How many answers of checkpoints the gateway captured in a window, ``exact`` ones, those that
    were found again among the recorded calls, and of these the ones sampled at a temperature or
    top_p other than 1. ``others``: answers of other servers. ``control`` and ``examinee``: answers
    to agents that were drawn for these arms, whoever gave them."""

    window: str
    captured: int
    exact: int
    joined: int
    tempered: int
    others: int
    control: int
    examinee: int


class NewestCaptures(Struct, frozen=True):
    """How many of the newest captured answers came without the ids and log-probabilities of their
    tokens, and the state that says what most of these lacked."""

    captured: int
    text_only: int
    lacks: str | None


class SystemState(Struct, frozen=True):
    """The state of the system, as a lineage sees it.

    ``lineage`` is None until a worker has served or trained it, ``others`` are the names of the
    other lineages of the database. ``unopened``: window ids of rows that have no window.
    ``set_aside``: checkpoints that could not be verified. ``tripped``: what keeps windows from
    training. ``captures`` is of the newest hour that
    was trained or skipped, None where the gateway captured nothing in it.
    """

    lineage: Lineage | None
    circuits: list[Circuit]
    pause: Pause | None
    windows: dict[str, int]
    oldest_due: DueWindow | None
    outcomes: WaitingForOutcomes
    step_in_work: StepReport | None
    last_step: StepReport | None
    last_decision: Promotion | None
    failed: list[FailedWindow]
    others: list[str]
    unopened: list[UnopenedWindows]
    captures: CapturedHour | None
    newest_captures: NewestCaptures
    set_aside: list[SetAside]
    tripped: list[TripRow]


class CheckpointReport(Struct, frozen=True):
    """A checkpoint; its newest evaluation, and the newest decision about it.

    ``pruned_at``: since when it can no longer serve, None if it can. ``returned_to``: the decision
    was a rollback to it, not of it.
    """

    step: int
    inference_name: str
    serving: bool
    head: bool
    created_at: datetime
    value: float | None
    coverage: float | None
    groups: int | None
    decision: Decision | None
    reason: str | None
    actor: str | None
    returned_to: bool | None
    uri: str
    content_hash: str | None
    pruned_at: datetime | None


class PostgresServer(Struct, frozen=True):
    """Postgres: its version as text and as a number, and its time."""

    version: str
    version_number: int
    clock: datetime


def history(connection: Connection, window: str, *, lineage: str | None = None) -> WindowHistory:
    """Read all about one window as a lineage sees it: its own steps, events of its own or none.

    As all lineages together do without one. Raises BadWindowId, WindowNotFound.
    """
    row = windows.get(connection, window, lineage=lineage)
    asked = {"window": window, "lineage": lineage}
    return WindowHistory(
        window=row,
        waits_for=reward_versions.waits_for(connection, window),
        reward_versions=reward_versions.of_window(connection, window),
        events=fetch_all(connection, "reports.events_of_window", Event, **asked),
        rejections=fetch_all(connection, "reports.rejections_of_window", RejectionCount, **asked),
        uses=fetch_pairs(connection, "reports.uses_of_window", str, int, **asked),
        steps=fetch_all(connection, "reports.steps_of_window", StepReport, **asked),
        evaluations=fetch_all(
            connection, "reports.evaluations_of_window", EvaluationReport, **asked
        ),
        lineages=lineage_windows.of_window(connection, window),
        tripwires=tripwires.of_window(connection, window, lineage),
        answers=fetch_value(connection, "reports.answers_of_window", dict, **asked) or {},
    )


def system_state(connection: Connection, lineage: str, *, limit: int = 20) -> SystemState:
    """Read the state of the system; at most ``limit`` failed windows."""
    return SystemState(
        lineage=lineages.get(connection, lineage),
        circuits=circuits.opened(connection),
        pause=pauses.in_force(connection, lineage),
        windows=windows.counts(connection, lineage=lineage),
        oldest_due=fetch_one(connection, "reports.oldest_due", DueWindow, lineage=lineage),
        outcomes=reward_versions.waiting(connection),
        step_in_work=fetch_one(connection, "reports.step_in_work", StepReport, lineage=lineage),
        last_step=fetch_one(connection, "reports.last_step", StepReport, lineage=lineage),
        last_decision=promotions.latest(connection, lineage),
        failed=fetch_all(
            connection, "reports.failed_windows", FailedWindow, lineage=lineage, limit=limit
        ),
        unopened=unopened_windows.counts(connection),
        others=[name for name in lineages.names(connection) if name != lineage],
        captures=captured_hour(connection, lineage),
        newest_captures=newest_captures(connection, lineage),
        set_aside=set_aside.kept(connection, lineage),
        tripped=tripwires.still_open(connection, lineage, limit=limit),
    )


def captured_hour(connection: Connection, lineage: str) -> CapturedHour | None:
    """Count what the gateway captured of it in the newest hour that was trained or skipped."""
    return fetch_one(connection, "reports.captured_hour", CapturedHour, lineage=lineage)


def newest_captures(connection: Connection, lineage: str, *, newest: int = 100) -> NewestCaptures:
    """Look at what the gateway captured last of a lineage's answers."""
    row = fetch_one(
        connection, "reports.newest_captures", NewestCaptures, lineage=lineage, newest=newest
    )
    assert row is not None  # noqa: S101  # a count
    return row


def models(connection: Connection, lineage: str, *, limit: int = 100) -> list[CheckpointReport]:
    """List checkpoints, newest first; empty if the lineage does not exist yet."""
    return fetch_all(connection, "reports.models", CheckpointReport, lineage=lineage, limit=limit)


def server(connection: Connection) -> PostgresServer:
    """Read the server's version and time."""
    row = fetch_one(connection, "reports.server", PostgresServer)
    assert row is not None  # noqa: S101  # a SELECT without FROM always has a row
    return row
