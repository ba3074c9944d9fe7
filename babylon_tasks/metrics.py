"""What each process counts, for Prometheus; ``docs/operations.md`` lists it, generated from here.

Counters start at zero with their process, as Prometheus expects. The state of the whole system
(windows by state, the age of the oldest work, ...) is read from Postgres: ``db/gauges.py``.

In a prefork worker every child, and the trainer, counts in its own files
(``PROMETHEUS_MULTIPROC_DIR``), which the worker's main process adds up when scraped.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from babylon_tasks import task_names
from babylon_tasks.actions import GateAction, ReconcileAction
from babylon_tasks.reasons import JudgeFailure, Reason
from babylon_tasks.records import JoinResult
from babylon_tasks.states import WindowState
from babylon_tasks.tripwires import Tripwire, TripwirePolicy

# Milliseconds for upkeep, hours for a step on a large model: the defaults end at 10 s.
_SECONDS = (0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)

TASK_WAIT = Histogram(
    "babylon_task_wait_seconds",
    "From the sending of a message to the start of its task.",
    ["task"],
    buckets=_SECONDS,
)
TASK_DURATION = Histogram(
    "babylon_task_duration_seconds",
    "How long tasks ran, by how they ended: done, stale_lease (another took over) or failed.",
    ["task", "outcome"],
    buckets=_SECONDS,
)
MESSAGES_REFUSED = Counter(
    "babylon_messages_refused",
    "Messages that were not ours and were dropped, by what was wrong: too_large, envelope, task, "
    "body, arguments, not_a_list (the queue itself).",
    ["queue", "reason"],
)
REDIS_INTERRUPTIONS = Counter(
    "babylon_redis_interruptions",
    "How often a worker had to reconnect to Redis, by what was wrong: away, loading, full, "
    "read_only, login, tls, refused.",
    ["trouble"],
)
WINDOWS_SCORED = Counter(
    "babylon_windows_scored",
    "Windows that scoring finished, by the state it left them in.",
    ["state"],
)
TRAJECTORIES_SCORED = Counter("babylon_trajectories_scored", "Trajectories that got a reward.")
TRAJECTORIES_REJECTED = Counter(
    "babylon_trajectories_rejected",
    "Trajectories that are not used, by the reason that `babylon-tasks why` shows.",
    ["reason"],
)
CALLS_JOINED = Counter(
    "babylon_calls_joined",
    "Recorded calls without token ids that planning looked for among what the gateway captured, by "
    "result: exact, inexact (only the checkpoint is known), other_model, ambiguous, not_found.",
    ["result"],
)
RULER_ANSWERS = Counter(
    "babylon_ruler_answers",
    "Answers of the judge (scorer ruler), two for each question: answered, malformed, "
    "no_answer, timeout, or died (its process).",
    ["outcome"],
)
RULER_TOKENS = Counter(
    "babylon_ruler_tokens", "Tokens that the judge read (prompt) and wrote (completion).", ["kind"]
)
RULER_COST = Counter(
    "babylon_ruler_cost",
    "What the judge cost; nothing is counted for a model whose price litellm does not know.",
    ["currency"],
)
RULER_FALLBACKS = Counter(
    "babylon_ruler_fallbacks",
    "Trajectories rewarded by the scorer default, because the judge gave no usable grade, by "
    "reason.",
    ["reason"],
)
TRIPS = Counter(
    "babylon_trips",
    "What tripped in windows that a step was about to take, by tripwire and policy: warn (trained "
    "on all the same) or hold.",
    ["lineage", "tripwire", "policy"],
)
STEP_SECONDS = Histogram(
    "babylon_step_duration_seconds",
    "How long a training step took in the trainer, from its data to its checkpoint.",
    ["lineage"],
    buckets=_SECONDS,
)
STEPS = Counter(
    "babylon_step_runs",
    "Runs of a training step by how they ended: committed, failed (its data are released), "
    "interrupted (the trainer died: retried).",
    ["lineage", "outcome"],
)
GRADIENT_STEPS = Counter(
    "babylon_gradient_steps", "Optimiser steps of committed training steps.", ["lineage"]
)
TRAINED_TOKENS = Counter(
    "babylon_trained_tokens",
    "Assistant tokens that committed training steps learned from.",
    ["lineage"],
)
EVALUATIONS = Counter(
    "babylon_evaluations",
    "Evaluations of the newest checkpoint by result: promoted, held, or idle (nothing to do).",
    ["lineage", "action"],
)
RECONCILE_ACTIONS = Counter(
    "babylon_reconcile_actions",
    "Repairs by reconcile: scoring claims released or failed, late rows rejected, "
    "messages sent again, windows sealed again for a new reward version.",
    ["action"],
)
TRAINER_UP = Gauge(
    "babylon_trainer_up",
    "Whether this worker's trainer runs and serves: 1 or 0.",
    ["lineage"],
    multiprocess_mode="livemostrecent",
)
TRAINER_STARTS = Counter("babylon_trainer_starts", "Starts of this worker's trainer.", ["lineage"])
TRAINER_DEVICE = Gauge(
    "babylon_trainer_device",
    "1 for what this worker's trainer computes on (backend cpu): cpu, or cuda:N and its card.",
    ["lineage", "device", "card"],
    multiprocess_mode="livemostrecent",
)
INFERENCE_SECONDS = Histogram(
    "babylon_inference_duration_seconds",
    "How long agents waited for an answer from the trainer (backend cpu), by HTTP status.",
    ["lineage", "code"],
    buckets=_SECONDS,
)
INFERENCE_TOKENS = Counter(
    "babylon_inference_tokens",
    "Tokens that agents sent (prompt) and received (completion); backend cpu.",
    ["lineage", "kind"],
)


ANSWERED = "answered"  # by the judge
OUTCOMES = ("done", "stale_lease", "failed")
_STATES = (WindowState.SCORED, WindowState.HELD_OUT, WindowState.SKIPPED)


def init_message_metrics(queues: Iterable[str]) -> None:
    """Export zeros from the start, so that a first failure is an increase and not a new series."""
    for queue in queues:
        for reason in ("too_large", "envelope", "task", "body", "arguments", "not_a_list"):
            MESSAGES_REFUSED.labels(queue, reason)
    for trouble in ("away", "loading", "full", "read_only", "login", "tls", "refused"):
        REDIS_INTERRUPTIONS.labels(trouble)


def init_scoring_metrics() -> None:
    """Export zeros from the start for what a worker on queue ``cpu`` counts."""
    _zero_tasks(task_names.SCORE_WINDOW)
    for state in _STATES:
        WINDOWS_SCORED.labels(state)
    TRAJECTORIES_REJECTED.labels(Reason.NO_EVIDENCE)
    for outcome in (ANSWERED, JudgeFailure.NO_ANSWER, JudgeFailure.MALFORMED):
        RULER_ANSWERS.labels(outcome)
    for kind in ("prompt", "completion"):
        RULER_TOKENS.labels(kind)
    RULER_COST.labels("usd")
    for reason in (
        JudgeFailure.NO_ANSWER,
        JudgeFailure.MALFORMED,
        JudgeFailure.BOUNDS,
        JudgeFailure.DISAGREEMENT,
    ):
        RULER_FALLBACKS.labels(reason)


def init_upkeep_metrics() -> None:
    """Export zeros from the start for what a worker on queue ``upkeep`` counts."""
    _zero_tasks(task_names.DISCOVER, task_names.RECONCILE, task_names.PRUNE)
    for action in ReconcileAction:
        RECONCILE_ACTIONS.labels(action)
    TRAJECTORIES_REJECTED.labels(Reason.LATE)


def init_training_metrics(lineage: str) -> None:
    """Export zeros from the start for what a worker on queue ``gpu`` counts."""
    _zero_tasks(task_names.TRAIN_WINDOW)
    for action in GateAction:
        EVALUATIONS.labels(lineage, action)
    for outcome in ("committed", "failed", "interrupted"):
        STEPS.labels(lineage, outcome)
    for counted in (STEP_SECONDS, GRADIENT_STEPS, TRAINED_TOKENS, TRAINER_STARTS):
        counted.labels(lineage)
    for wire in Tripwire:
        for policy in (TripwirePolicy.WARN, TripwirePolicy.HOLD):
            TRIPS.labels(lineage, wire, policy)
    INFERENCE_SECONDS.labels(lineage, "200")
    for kind in ("prompt", "completion"):
        INFERENCE_TOKENS.labels(lineage, kind)
    for reason in (Reason.NO_LOGPROBS, Reason.OTHER_POLICY):
        TRAJECTORIES_REJECTED.labels(reason)
    for result in JoinResult:
        CALLS_JOINED.labels(result)
    TRAINER_UP.labels(lineage).set(0)


def _zero_tasks(*names: str) -> None:
    for name in names:
        TASK_WAIT.labels(name)
        for outcome in OUTCOMES:
            TASK_DURATION.labels(name, outcome)
