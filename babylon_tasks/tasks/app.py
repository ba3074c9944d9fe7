"""The Celery application; ``babylon-tasks run cpu-worker`` and its siblings start its processes.

Importing it reads no setting and opens no connection; both happen when the app is first used.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_shutdown
from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES
from msgspec import Struct

from babylon_tasks import log, task_names, tracing
from babylon_tasks.settings import Settings, load_settings
from babylon_tasks.tasks.redis_connection import server

# The newest messages that a queue keeps when nobody takes them. One on `gpu` is enough to train all
# that waits, a few on `upkeep` find all that is to be done; on `cpu` each window has its own, and
# one that is dropped is sent again.
# Each lineage has a queue of its own, gpu.LINEAGE; on `gpu` itself only processes of an older
# release send, while they are being replaced.
KEPT_MESSAGES = {"cpu": 1000, "gpu": 100, "upkeep": 10}
_OF_A_LINEAGE = "gpu."
KEY_PREFIX = "babylon-tasks:"
SENT_AT = "babylon_sent_at"  # the header with the time when a message was sent


class Argument(Enum):
    """What a task's messages may carry."""

    NONE = auto()
    WINDOW = auto()
    WINDOW_OR_NONE = auto()


class _Task(Struct, frozen=True, kw_only=True):
    """Where the messages of a task go, and after how many seconds it is ended."""

    queue: str
    argument: Argument
    soft_limit: int
    hard_limit: int


def training_queue(lineage: str) -> str:
    """Name the queue of a lineage's gpu-worker."""
    return _OF_A_LINEAGE + lineage


def queues(settings: Settings) -> tuple[str, ...]:
    """List the queues that the processes of these settings consume and send to."""
    return ("cpu", "gpu", training_queue(settings.lineage), "upkeep")


def family(queue: str) -> str | None:
    """Return which of ``KEPT_MESSAGES`` a queue is, or a lineage's own of; None: not ours."""
    if queue.startswith(_OF_A_LINEAGE):
        return "gpu"
    return queue if queue in KEPT_MESSAGES else None


def trains(consumed: Iterable[str]) -> bool:
    """Check whether a worker of these queues is a gpu-worker."""
    return any(family(queue) == "gpu" for queue in consumed)


def queue_named(name: str) -> Queue:
    """Build a queue for Celery."""
    return Queue(name, Exchange(name), routing_key=name)


TASKS = {
    task_names.SCORE_WINDOW: _Task(
        queue="cpu", argument=Argument.WINDOW, soft_limit=3600, hard_limit=3900
    ),
    task_names.TRAIN_WINDOW: _Task(
        queue="gpu", argument=Argument.WINDOW_OR_NONE, soft_limit=21_600, hard_limit=21_900
    ),
    task_names.DISCOVER: _Task(
        queue="upkeep", argument=Argument.NONE, soft_limit=600, hard_limit=660
    ),
    task_names.RECONCILE: _Task(
        queue="upkeep", argument=Argument.NONE, soft_limit=600, hard_limit=660
    ),
    task_names.PRUNE: _Task(queue="upkeep", argument=Argument.NONE, soft_limit=600, hard_limit=660),
}

# By the schemes, so that addresses mean what they do elsewhere (`broker_transport` would replace
# `rediss` too).
TRANSPORT_ALIASES |= dict.fromkeys(
    ("redis", "rediss"), "babylon_tasks.tasks.redis_transport:Transport"
)

app = Celery(
    "babylon-tasks",
    include=[
        "babylon_tasks.tasks.commands",
        "babylon_tasks.tasks.health.bootsteps",
        "babylon_tasks.tasks.scoring",
        "babylon_tasks.tasks.shutdown",
        "babylon_tasks.tasks.temporary_folder",
        "babylon_tasks.tasks.training",
        "babylon_tasks.tasks.upkeep",
    ],
)


def configuration(settings: Settings) -> dict[str, Any]:
    """Build every Celery setting that is not the default, each with its reason.

    Measured on Celery 5.7.0 and Redis; the tests restart the broker under a
    running task to check that they still apply. Raises SettingsError where REDIS_URL names a file
    that cannot be read.
    """
    redis = server(settings)
    return {
        "broker_url": redis.url,
        "broker_use_ssl": redis.tls or None,
        "redis_backend_use_ssl": redis.tls or None,
        # Only PROGRESS is stored, for Flower and for `AsyncResult`; results are in Postgres.
        "result_backend": redis.url,
        "result_expires": 3600,
        "task_ignore_result": True,
        # Early: with late acknowledgement on Redis one TCP reset starts a task a second time, a
        # restart of Redis ends a 5.7.0 worker, and messages are lost all the same. Recovery is
        # reconcile's job, from Postgres.
        "task_acks_late": False,
        # Else a busy worker reserves one more message than it runs, and a restart strands it.
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        # Anyone who can write to Redis can send messages, so they must contain data only.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        # A misspelt queue fails at once instead of filling up unseen.
        "task_create_missing_queues": False,
        "task_queues": [queue_named(name) for name in queues(settings)],
        "task_default_queue": "upkeep",
        "task_routes": {name: {"queue": task.queue} for name, task in TASKS.items()}
        | {task_names.TRAIN_WINDOW: {"queue": training_queue(settings.lineage)}},
        # The last resort against hanging tasks; leases and the trainer's silence act long before.
        # Soft: raised in the task, which releases its claim. Hard: the process is killed.
        "task_annotations": {
            name: {"soft_time_limit": task.soft_limit, "time_limit": task.hard_limit}
            for name, task in TASKS.items()
        },
        # An unresponsive Redis must not hang a worker or a sender: kombu by default waits forever.
        "broker_transport_options": {
            # Another Celery application on the same Redis has an `unacked`, and perhaps a queue
            # `cpu`, too: without a prefix each would requeue the other's running tasks.
            "global_keyprefix": KEY_PREFIX,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            # A half-open connection is noticed after twice this and a second: kombu asks for
            # messages every second, and misses the answer.
            "health_check_interval": 10,
            # A control command to the workers or a first send gives up within a second or two.
            "max_retries": 3,
            "interval_start": 0.1,
            "interval_step": 0.2,
            "interval_max": 0.5,
            # What is taken is gone: see tasks/redis_transport.py.
            "ack_emulation": False,
            "priority_steps": [0],  # one list for each queue
        },
        # Progress is optional: it must not delay a step for the default of 20 s.
        "result_backend_transport_options": {
            "global_keyprefix": KEY_PREFIX,
            "socket_timeout": 5,
            "socket_connect_timeout": 5,
            "retry_policy": {"max_retries": 1, "interval_start": 0.1},
        },
        "redis_socket_timeout": 10.0,
        "redis_socket_connect_timeout": 5.0,
        "redis_retry_on_timeout": True,
        "broker_pool_acquire_timeout": 30,
        # Redis may be down for an hour; the worker keeps trying (by default it stops after 100).
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # And so if it answers with an error: see tasks/patient_consumer.py.
        "broker_channel_error_retry": True,
        "worker_consumer": "babylon_tasks.tasks.patient_consumer:PatientConsumer",
        # Reconcile repeats a failed send: do not keep the sender waiting.
        "task_publish_retry_policy": {"max_retries": 3, "interval_start": 0.2, "interval_max": 1},
        # A lost connection never cancels a running task: its lease decides whether it may go on.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # SIGQUIT waits this long too (SIGTERM: see tasks/shutdown.py); leases cover the rest.
        "worker_soft_shutdown_timeout": settings.shutdown_seconds,
        "worker_enable_soft_shutdown_on_idle": False,
        # The trainer starts in the background, but a loaded machine may still be slow to fork.
        "worker_proc_alive_timeout": 60.0,
        # Our own logging (structlog) for everything, stdout left alone.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Flower follows tasks through events.
        "task_send_sent_event": True,
        "worker_send_task_events": True,
        "enable_utc": True,
        "timezone": "UTC",
        # `inspect ping` finds a stalled beat.
        "beat_enable_remote_control": True,
    }


# Lazy: the settings are read when the configuration is first needed.
app.add_defaults(lambda: configuration(load_settings()))


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logging(**_: Any) -> None:
    log.configure(load_settings())
    log.name_misspelt()
    tracing.begin(load_settings())


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _end_tracing(**_: Any) -> None:
    tracing.end()  # a child ends without what Python does at its exit
