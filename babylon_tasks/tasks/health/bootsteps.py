"""Give beat and workers their HTTP port, count their tasks and mark the turns of their loops.

Bootsteps and signals only; the answers are in ``endpoint``, ``liveness`` and ``system_metrics``.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import structlog
from celery import bootsteps
from celery.beat import Scheduler, SchedulingError
from celery.signals import (
    beat_init,
    before_task_publish,
    celeryd_after_setup,
    worker_process_init,
)
from celery.worker.state import active_requests, reserved_requests
from prometheus_client import CollectorRegistry, Info, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from babylon_tasks import __version__, metrics
from babylon_tasks.errors import SettingsError
from babylon_tasks.free_disk import FreeDisk
from babylon_tasks.settings import Settings, load_settings
from babylon_tasks.tasks.app import SENT_AT, app, trains
from babylon_tasks.tasks.health.endpoint import Endpoint
from babylon_tasks.tasks.health.liveness import Probe, Pulse
from babylon_tasks.tasks.health.pool_children import pool_children
from babylon_tasks.tasks.health.readiness import WorkerReadiness, redis_check
from babylon_tasks.tasks.health.ready_metric import ReadyMetric
from babylon_tasks.tasks.redis_health import describe
from babylon_tasks.tasks.system_metrics import SystemMetrics

_TURN_SECONDS = 5.0
log = structlog.get_logger(__name__)


class Monitor:
    """This process's endpoint, if BABYLON_METRICS_PORT asks for one."""

    def __init__(self) -> None:
        self.pulse = Pulse()
        self.queues: frozenset[str] = frozenset()
        self._endpoint: Endpoint | None = None

    def open(self, settings: Settings, registry: CollectorRegistry) -> None:
        """Listen; raises SettingsError where the port is taken."""
        if not settings.metrics_port:
            return
        build = Info("babylon_build", "The version that runs.", registry=registry)
        build.info({"version": __version__})
        ProcessCollector(registry=registry)
        probe = self._probe(settings)
        registry.register(ReadyMetric(probe))
        self._endpoint = Endpoint(settings.metrics_host, settings.metrics_port, registry, probe)

    def _probe(self, settings: Settings) -> Probe:
        redis = redis_check(settings)
        if not self.queues:  # beat: it needs Postgres for metrics only
            return Probe(self.pulse, redis)
        worker = WorkerReadiness(settings, self.queues, pool_children)
        return Probe(
            self.pulse,
            redis,
            *worker.checks(),
            stuck=lambda: pool_children.stuck(settings),
            remark=worker.trouble,
        )

    def forget(self) -> None:
        """Close the parent's socket in a forked child."""
        if self._endpoint is not None:
            self._endpoint.forget()
            self._endpoint = None

    def close(self) -> None:
        """Stop listening."""
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None


monitor = Monitor()


class BeatScheduler(Scheduler):  # type: ignore[misc]  # celery is untyped
    """Celery's scheduler without a file, which also marks each of its turns."""

    max_interval = _TURN_SECONDS  # however long BABYLON_UPKEEP_INTERVAL_SECONDS is
    _closed = False

    def setup_schedule(self) -> None:
        """Make everything due at the start: what waits has waited long enough."""
        super().setup_schedule()
        for entry in self.schedule.values():
            entry.last_run_at = entry.schedule.now() - entry.schedule.run_every

    def close(self) -> None:
        """End with this turn. Celery's handler of SIGTERM calls it, then raises SystemExit.

        That can come in the middle of a send, where it is taken for a refusal (seen in 1 of 80
        beats that were stopped within a quarter of a second of their start).
        """
        self._closed = True
        super().close()

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """Look at the schedule once; returns the seconds until the next time."""
        wait = super().tick(*args, **kwargs)
        if self._closed:
            raise SystemExit
        monitor.pulse.turn()
        return wait

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send one message; if Redis refuses it, the next turn's is as good."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            log.warning("message.not_sent", task=entry.task, why=describe(error))
        else:
            log.info("message.sent", task=entry.task)
        monitor.pulse.turn()  # each send has a bound of its own


class EndpointStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """A worker's endpoint, opened after its first children were forked."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Open the port; requires the folder that the children count in."""
        del parent
        settings = load_settings()
        if not settings.metrics_port:
            return
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            raise SettingsError(
                "BABYLON_METRICS_PORT is set, but this worker was not started by "
                "`babylon-tasks run`, which gives its children a folder to count in: use that"
            )
        registry = CollectorRegistry()
        LiveChildren(registry)  # type: ignore[no-untyped-call]
        if trains(monitor.queues):
            registry.register(FreeDisk("data", settings.data_dir))
        monitor.open(settings, registry)

    def stop(self, parent: Any) -> None:
        """Close it, and remove the children's counts."""
        del parent
        monitor.close()
        if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            shutil.rmtree(folder, ignore_errors=True)

    terminate = stop


class LivenessStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Mark the turns of a worker's event loop while it is connected and subscribed."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        """Note that the worker is connected: from here on the loop must turn."""
        monitor.pulse.turn()
        monitor.pulse.connected = True
        self._timer = parent.timer.call_repeatedly(_TURN_SECONDS, self._turn)

    def _turn(self) -> None:
        monitor.pulse.turn()
        begun = {request.id for request in active_requests}
        pool_children.note_handed(one.id for one in reserved_requests if one.id not in begun)

    def stop(self, parent: Any) -> None:
        """Note that the connection is lost or the worker ends."""
        del parent
        monitor.pulse.connected = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop


app.steps["worker"].add(EndpointStep)
app.steps["consumer"].add(LivenessStep)


class LiveChildren(MultiProcessCollector):
    """Add up the children's counts; gauges of dead children are removed."""

    def collect(self) -> Any:
        """Collect all families of this worker's children."""
        for file in Path(self._path).glob("gauge_live*.db"):
            pid = int(file.stem.rpartition("_")[2])
            if not Path(f"/proc/{pid}").exists():
                mark_process_dead(pid, self._path)  # type: ignore[no-untyped-call]
        return super().collect()  # type: ignore[no-untyped-call]


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _notice_queues(instance: Any, **_: Any) -> None:
    monitor.queues = frozenset(instance.app.amqp.queues.consume_from)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _begin(**_: Any) -> None:
    monitor.forget()
    metrics.init_message_metrics(monitor.queues)
    if "cpu" in monitor.queues:
        metrics.init_scoring_metrics()
    if "upkeep" in monitor.queues:
        metrics.init_upkeep_metrics()
    if trains(monitor.queues):
        metrics.init_training_metrics(load_settings().lineage)


@beat_init.connect  # type: ignore[untyped-decorator]
def _watch_beat(**_: Any) -> None:
    settings = load_settings()
    monitor.pulse.connected = True  # it connects when it sends; see Probe.alive for the rest
    registry = CollectorRegistry()
    registry.register(SystemMetrics(settings))
    monitor.open(settings, registry)


@before_task_publish.connect  # type: ignore[untyped-decorator]
def _stamp(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers[SENT_AT] = time.time()
