"""What each use case returns. PURE: structs only, for whoever describes them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from babylon_tasks.actions import GateAction, TrainAction
from babylon_tasks.faults import Fault
from babylon_tasks.records import ScoringResult
from babylon_tasks.step_records import StepResult


class Discovered(Struct, frozen=True):
    """What ``discover`` found. The caller sends the messages for ``to_score`` and ``to_train``.

    ``outcomes``: how many of Babylon's were new or had changed. ``others``: by name, what lineages
    besides the settings' are to train. ``more``: another call would open or seal more at once.
    """

    opened: list[str]
    sealed: list[str]
    to_score: list[str]
    to_train: list[str]
    malformed: list[str]
    outcomes: int = 0
    others: dict[str, list[str | None]] = {}
    more: bool = False


class Scoring(ScoringResult, frozen=True, kw_only=True):
    """The result of ``score_window``; where ``claimed`` is False, why it did nothing."""

    window: str
    claimed: bool
    seconds: float = 0.0


class TrainOutcome(Struct, frozen=True):
    """The result of ``train_window``; ``reason`` is for people.

    ``skipped`` maps windows in which planning found nothing to train on to why, as their rows
    store it. ``result`` and ``reward_mean`` are those of a committed or adopted step, a supervised
    one has no reward; ``fault`` is that of a failed attempt.
    """

    action: TrainAction
    windows: list[str] = []
    step: int | None = None
    reason: str | None = None
    skipped: dict[str, str] = {}
    result: StepResult | None = None
    reward_mean: float | None = None
    seconds: float = 0.0
    fault: Fault | None = None


class GateResult(Struct, frozen=True):
    """The result of ``evaluate``; ``reason`` is for people."""

    action: GateAction
    candidate: int
    serving: int
    reason: str
    figures: dict[str, Any]


class Reconciled(Struct, frozen=True):
    """What ``reconcile`` repaired. The caller sends the messages for ``to_score``, ``to_train``.

    ``unevaluated``: a worker died between committing the newest checkpoint and evaluating it.
    ``anew``: windows that are sealed again, for a new reward version. ``others``: by name, what
    lineages besides the settings' are to train; None: to evaluate what was left. ``concluded``:
    what comparisons concluded, in words. ``more``: a limit was met, another call would do more.
    """

    released: list[str]
    failed: list[str]
    late: int
    to_score: list[str]
    to_train: list[str]
    unevaluated: bool = False
    anew: list[str] = []
    others: dict[str, list[str | None]] = {}
    concluded: list[str] = []
    more: bool = False


class PrunedCheckpoints(Struct, frozen=True):
    """What ``prune_checkpoints`` did, or would do: each a list of steps.

    ``marked``: from now on they cannot serve; ``deleted``: their weights are gone, those that an
    earlier call had marked included; ``optimizers``: only that state is gone. ``ended``: ids of
    ended steps whose data were still there. ``size``: bytes that became free on this machine.
    ``set_aside``: the numbers of checkpoints that had been set aside and are deleted.
    """

    marked: list[int] = []
    deleted: list[int] = []
    optimizers: list[int] = []
    ended: list[int] = []
    size: int = 0
    set_aside: list[int] = []


class PrunedRows(Struct, frozen=True):
    """What ``prune_rows`` deleted, or would delete: the rows of these windows, by table.

    ``outcomes`` are of hours before all windows that are left; ``manifests`` of steps lost their
    lists of trajectories; ``call_days`` are days of captured calls, ``replays`` steps of which what
    they were trained on was kept until now, ``samples`` answers in old screens.
    """

    windows: list[str] = []
    scores: int = 0
    rejections: int = 0
    uses: int = 0
    bets: int = 0
    outcomes: int = 0
    manifests: int = 0
    call_days: int = 0
    replays: int = 0
    samples: int = 0
