"""The metrics of the whole system that beat exports: rows of Postgres and queues of Redis.

Exported by beat, because only one runs: several workers would report the same figures. A source
that does not answer is a figure too (``babylon_source_up``), never a failed scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from babylon_tasks import step_metrics
from babylon_tasks.db import gauges, lineages
from babylon_tasks.db.gauges import Gauges
from babylon_tasks.db.session import session
from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.settings import Settings
from babylon_tasks.tasks import comparison_metrics, cost_metrics, evaluation_metrics
from babylon_tasks.tasks.app import KEY_PREFIX, queues, training_queue
from babylon_tasks.tasks.metric_sample import Sample
from babylon_tasks.tasks.redis_connection import open_client
from babylon_tasks.tasks.redis_health import refusal

_PATIENCE_SECONDS = 2.0  # Prometheus itself waits for ten
_SILENCE_SECONDS = 6.0
log = structlog.get_logger(__name__)

# Name: help text and labels. A figure that does not exist yet is left out.
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "babylon_source_up": ("Whether Postgres and Redis answered this scrape: 1 or 0.", ("source",)),
    "babylon_queue_messages": (
        "Messages that no worker has taken yet; babylon_windows counts the work itself.",
        ("queue",),
    ),
    "babylon_redis_writable": (
        "Whether Redis accepted a write: 1, or 0 while it is full or read-only.",
        (),
    ),
    "babylon_windows": (
        "Windows by the state that they are in for a lineage.",
        ("lineage", "state"),
    ),
    "babylon_oldest_due_window_age_seconds": (
        "Age of the oldest hour that scoring or the lineage's first step is due for, since its end "
        "or the end of its wait for outcomes; 0 where there is none.",
        ("lineage",),
    ),
    "babylon_windows_awaiting_outcomes": (
        "Scored and held-out windows that wait for outcomes.",
        (),
    ),
    "babylon_windows_to_score_anew": (
        "Windows to be scored anew because outcomes or rows have changed.",
        (),
    ),
    "babylon_trajectories_left_over": (
        "Comparable trajectories left over for later steps of a lineage, until they are stale.",
        ("lineage",),
    ),
    "babylon_tripped_windows": (
        "Windows that a tripwire of policy hold keeps from training until somebody accepts them.",
        ("lineage",),
    ),
    "babylon_right_share": (
        "Share of right bets among those with an outcome, in the last scored window.",
        (),
    ),
    "babylon_profit_mean": ("Mean profit of the last scored window, in Babylon's money.", ()),
    "babylon_reward_spread": (
        "Standard deviation of the rewards of the last scored window: 0 leaves nothing to learn.",
        (),
    ),
    "babylon_last_scored_timestamp_seconds": (
        "When the last window was scored, in Unix time.",
        (),
    ),
    "babylon_circuit_open": (
        "Whether scoring, or a lineage's training, is paused after repeated faults: 1 or 0.",
        ("circuit",),
    ),
    "babylon_serving_step": ("The checkpoint that agents use now.", ("lineage",)),
    "babylon_head_step": ("The newest checkpoint.", ("lineage",)),
    "babylon_lineage_leased": ("Whether a worker trains the lineage now: 1 or 0.", ("lineage",)),
    "babylon_lease_age_seconds": (
        "Time since the lineage's lease was renewed, 0 if it is free; beyond BABYLON_LEASE_SECONDS "
        "its owner is gone.",
        ("lineage",),
    ),
    "babylon_lineage_troubled": (
        "Whether files of the lineage are damaged, so that an older checkpoint serves or windows "
        "wait: 1 or 0.",
        ("lineage",),
    ),
    "babylon_refusals_in_a_row": (
        "Checkpoints refused or rolled back for harm since the last promotion.",
        ("lineage",),
    ),
    "babylon_steps": ("Training steps by state.", ("lineage", "state")),
    "babylon_last_committed_timestamp_seconds": (
        "When the last training step was committed, in Unix time; 0 for never.",
        ("lineage",),
    ),
    "babylon_importance_ratio_mean": (
        "Mean ratio, in the newest committed step, of the policy in training to the one that "
        "answered; about 1.",
        ("lineage",),
    ),
    "babylon_importance_ratio_max": (
        "The largest such ratio in the newest committed step.",
        ("lineage",),
    ),
    "babylon_clipped_token_share": (
        "Share of tokens of the newest committed step whose ratio ART's loss clips.",
        ("lineage",),
    ),
    "babylon_mismatch_kl": (
        "KL divergence from the policy that answered, in the newest committed step, in nats per "
        "token; BABYLON_MAX_MISMATCH_KL bounds it.",
        ("lineage",),
    ),
    "babylon_effective_sample_share": (
        "Effective sample size of the newest committed step, as a share of its tokens.",
        ("lineage",),
    ),
    "babylon_policy_entropy": (
        "Entropy of the policy in the newest committed step, in nats per token.",
        ("lineage",),
    ),
    "babylon_answer_tokens": (
        "Mean length of a trajectory's answers in the newest committed step, in tokens.",
        ("lineage",),
    ),
    "babylon_reward_length_correlation": (
        "Correlation of reward and length of the answers in the newest committed step.",
        ("lineage",),
    ),
    "babylon_promotion_decisions": (
        "Recorded decisions about checkpoints: promote, hold, rollback.",
        ("lineage", "decision"),
    ),
    "babylon_last_promoted_timestamp_seconds": (
        "When the last checkpoint was promoted, in Unix time; 0 for never.",
        ("lineage",),
    ),
    **evaluation_metrics.FAMILIES,
    **comparison_metrics.FAMILIES,
    **cost_metrics.FAMILIES,
}

_OF_A_STEP = {
    "babylon_importance_ratio_mean": step_metrics.RATIO_MEAN,
    "babylon_importance_ratio_max": step_metrics.RATIO_MAX,
    "babylon_clipped_token_share": step_metrics.CLIPPED_SHARE,
    "babylon_mismatch_kl": step_metrics.MISMATCH_KL,
    "babylon_effective_sample_share": step_metrics.SAMPLE_SHARE,
    "babylon_policy_entropy": step_metrics.ENTROPY,
    "babylon_answer_tokens": step_metrics.ANSWER_TOKENS,
    "babylon_reward_length_correlation": step_metrics.LENGTH_CORRELATION,
}


class SystemMetrics(Collector):
    """Read all figures for each scrape: some milliseconds, one connection to each source."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lineages = [settings.lineage]

    def describe(self) -> Iterable[Metric]:
        """List every family without samples, so that registering needs no database."""
        return _families(())

    def collect(self) -> Iterable[Metric]:
        """Collect all families; those of an unreachable source have no samples."""
        return _families(
            [*self._asked("postgres", self._rows), *self._asked("redis", self._queues)]
        )

    def _asked(self, source: str, ask: Callable[[], Iterable[Sample]]) -> Iterator[Sample]:
        try:
            samples = list(ask())
        except (BabylonTasksError, RedisError) as error:
            log.warning("source.not_reached", source=source, why=str(error))
            yield Sample("babylon_source_up", 0, {"source": source})
        else:
            yield Sample("babylon_source_up", 1, {"source": source})
            yield from samples

    def _rows(self) -> Iterable[Sample]:
        settings = self._settings
        with session(settings, patience=_PATIENCE_SECONDS, silence=_SILENCE_SECONDS) as connection:
            live = lineages.live(connection)
            self._lineages = [settings.lineage, *(one for one in live if one != settings.lineage)]
            found = {
                name: gauges.read(connection, name, settings.lease_seconds)
                for name in self._lineages
            }
            besides = [
                sample
                for name in self._lineages
                for read in (comparison_metrics.samples, cost_metrics.samples)
                for sample in read(connection, settings.model_copy(update={"lineage": name}))
            ]
        circuits = {
            name: is_open for one in found.values() for name, is_open in one.circuits.items()
        }
        return [
            *_of_database(found[settings.lineage]),
            *(
                Sample("babylon_circuit_open", is_open, {"circuit": name})
                for name, is_open in circuits.items()
            ),
            *(sample for name, figures in found.items() for sample in _of_lineage(figures, name)),
            *besides,
        ]

    def _queues(self) -> Iterator[Sample]:
        with open_client(self._settings, _PATIENCE_SECONDS) as client:
            own = queues(self._settings)
            others = (training_queue(name) for name in self._lineages[1:])
            for queue in (*own, *others):
                messages = client.llen(KEY_PREFIX + queue)
                yield Sample("babylon_queue_messages", messages, {"queue": queue})
        yield Sample("babylon_redis_writable", refusal(self._settings, _PATIENCE_SECONDS) is None)


def _of_database(figures: Gauges) -> Iterator[Sample]:
    yield Sample("babylon_windows_awaiting_outcomes", figures.awaiting_outcomes)
    yield Sample("babylon_windows_to_score_anew", figures.to_score_anew)
    if figures.rewards is not None:
        if figures.rewards.right_share is not None:
            yield Sample("babylon_right_share", figures.rewards.right_share)
        if figures.rewards.profit_mean is not None:
            yield Sample("babylon_profit_mean", figures.rewards.profit_mean)
        yield Sample("babylon_reward_spread", figures.rewards.spread)
        yield Sample("babylon_last_scored_timestamp_seconds", figures.rewards.scored_at)


def _of_lineage(figures: Gauges, lineage: str) -> Iterator[Sample]:
    of_it = {"lineage": lineage}
    for state, count in figures.windows.items():
        yield Sample("babylon_windows", count, of_it | {"state": state})
    yield Sample("babylon_oldest_due_window_age_seconds", figures.oldest_due, of_it)
    yield Sample("babylon_trajectories_left_over", figures.left_over, of_it)
    yield Sample("babylon_tripped_windows", figures.tripped, of_it)
    if figures.lineage is None:  # it does not exist yet
        return
    yield Sample("babylon_serving_step", figures.lineage.serving_step, of_it)
    yield Sample("babylon_head_step", figures.lineage.head_step, of_it)
    yield Sample("babylon_lineage_leased", figures.lineage.leased, of_it)
    yield Sample("babylon_lease_age_seconds", figures.lineage.lease_age, of_it)
    yield Sample("babylon_lineage_troubled", figures.lineage.troubled, of_it)
    yield Sample("babylon_refusals_in_a_row", figures.lineage.refusals, of_it)
    for state, count in figures.steps.items():
        yield Sample("babylon_steps", count, of_it | {"state": state})
    yield Sample("babylon_last_committed_timestamp_seconds", figures.committed_at, of_it)
    for family, name in _OF_A_STEP.items():
        if name in figures.newest_step:
            yield Sample(family, figures.newest_step[name], of_it)
    for decision, count in figures.decisions.items():
        yield Sample("babylon_promotion_decisions", count, of_it | {"decision": decision})
    yield Sample("babylon_last_promoted_timestamp_seconds", figures.promoted_at, of_it)
    yield from evaluation_metrics.samples(figures.evaluations, of_it)


def _families(samples: Iterable[Sample]) -> list[Metric]:
    made = {
        name: GaugeMetricFamily(name, text, labels=labels)
        for name, (text, labels) in FAMILIES.items()
    }
    for sample in samples:
        _, labels = FAMILIES[sample.family]
        values = [sample.labels[label] for label in labels]
        made[sample.family].add_metric(values, float(sample.value))
    return list(made.values())
