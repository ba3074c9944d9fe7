"""The trainer of a gpu-worker: started with it, restarted if it dies, closed with it.

Only a worker that consumes queue ``gpu`` has one. It serves inference from the start, before
there is anything to train on: without it the agents could not act.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from celery.signals import celeryd_after_setup, worker_process_init, worker_process_shutdown

from babylon_tasks import metrics
from babylon_tasks.db import promotions, trainer_lease
from babylon_tasks.db.session import session
from babylon_tasks.errors import BabylonTasksError
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.registry.serving import Serving
from babylon_tasks.settings import Settings, load_settings
from babylon_tasks.tasks.app import trains
from babylon_tasks.tasks.health.bounded_check import ANSWER_SECONDS
from babylon_tasks.tasks.health.inference import cannot_be_asked, lacks_model
from babylon_tasks.tasks.health.pool_children import PoolChild, pool_children
from babylon_tasks.training.child_log import bound_log
from babylon_tasks.training.supervisor import Trainer
from babylon_tasks.training.trainer_start import ComputesOn

_WATCH_SECONDS = 5.0
_CONNECT_SECONDS = 1.0
log = structlog.get_logger(__name__)


class TrainerManager:
    """One trainer for this process; ``lock`` gives it to one thread at a time."""

    def __init__(self) -> None:
        self.serves_gpu = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._trainer: Trainer | None = None
        self._unanswered = 0
        self._unserved = False  # a trainer that runs has not been told what serves
        self._exported: tuple[str, str] | None = None  # device and card, as exported

    @contextmanager
    def lock(self) -> Iterator[Trainer]:
        """Use the trainer for the length of a block."""
        with self._lock:
            if self._trainer is None:
                self._trainer = Trainer(load_settings(), on_any_progress=pool_children.progress)
            yield self._trainer

    def watch(self) -> None:
        """Start the trainer and keep it running until the process ends (runs in a thread)."""
        while not self._stop.is_set():
            self.look()
            self._stop.wait(_WATCH_SECONDS)

    def look(self) -> None:
        """Once: see to it that an idle trainer runs, answers, and has what is to serve."""
        settings = load_settings()
        try:
            with self.lock() as trainer:
                self._end_if_unanswering(trainer, settings)
                if self._stop.is_set():
                    return
                if trainer.pid is None:
                    self._start(trainer, settings)
                elif (why := self._lacks_what_serves(trainer, settings)) is not None:
                    log.error("serving.interrupted", why=why)
                    self._serve(trainer, settings)
        except BabylonTasksError as error:
            log.error("serving.failed", why=str(error), next_try_in=_WATCH_SECONDS)
        except Exception:  # logged with its traceback, and tried again
            # This thread must survive every error: nothing else restarts the trainer.
            log.exception("serving.failed", next_try_in=_WATCH_SECONDS)

    def _start(self, trainer: Trainer, settings: Settings) -> None:
        metrics.TRAINER_STARTS.labels(settings.lineage).inc()
        serving = self._serve(trainer, settings)
        on = trainer.ready().computes_on
        device = None if on is None else on.text
        log.info("trainer.started", model=serving.inference_name, device=device)
        self._show_device(settings.lineage, on)

    def _serve(self, trainer: Trainer, settings: Settings) -> Serving:
        self._unserved = True
        serving = serve(settings, trainer)
        self._unserved = False
        return serving

    def _lacks_what_serves(self, trainer: Trainer, settings: Settings) -> str | None:
        """Say why agents get no answer of what serves by the database; None if they do.

        A checkpoint may be damaged at any time, and the next step, at whose beginning that would
        be found, may be hours away.
        """
        if self._unserved:
            return "what serves could not be compared with what was committed"
        port = trainer.port
        if port is None or self._unanswered:
            return None
        with session(settings, patience=_CONNECT_SECONDS, silence=ANSWER_SECONDS) as connection:
            serving = promotions.serving(connection, settings.lineage)
        return lacks_model(settings, port, serving)

    def _end_if_unanswering(self, trainer: Trainer, settings: Settings) -> None:
        """Kill a trainer that has nothing to do and answers neither the worker nor agents."""
        longest = settings.trainer_silence_timeout_seconds
        if trainer.pid is None:
            self._unanswered = 0
            return
        port = trainer.port
        answers = port is None or cannot_be_asked(settings, port) is None
        self._unanswered = 0 if answers else self._unanswered + 1
        # Counted, not timed: while a step has the trainer nobody asks here.
        if trainer.silent_seconds > longest or self._unanswered * _WATCH_SECONDS > longest:
            log.error("trainer.ended", why=f"no answer for {longest:g} s", pid=trainer.pid)
            trainer.kill()

    def note(self, child: PoolChild) -> None:
        """Note for the probes and metrics whether the trainer runs and serves; waits for nothing.

        In a thread of its own: the one that starts the trainer may wait for Postgres.
        """
        trainer = self._trainer
        serves = trainer is not None and trainer.serves
        metrics.TRAINER_UP.labels(load_settings().lineage).set(serves)
        child.note_trainer(
            None if trainer is None else trainer.pid,
            serves=serves,
            port=None if trainer is None else trainer.port,
            silent=None if trainer is None else trainer.silent_seconds,
        )

    def _show_device(self, lineage: str, on: ComputesOn | None) -> None:
        if self._exported is not None:  # `auto` may find another one after a restart
            metrics.TRAINER_DEVICE.labels(lineage, *self._exported).set(0)
        self._exported = None if on is None else (on.device, on.card)
        if self._exported is not None:
            metrics.TRAINER_DEVICE.labels(lineage, *self._exported).set(1)

    def keep_lease(self) -> None:
        """Renew the trainer's lease until the process ends, a step or not (runs in a thread).

        A trainer whose lease another has taken is killed; Postgres's absence ends nothing.
        """
        settings = load_settings()
        while not self._stop.wait(settings.lease_seconds / 4):
            trainer = self._trainer
            lock_name = None if trainer is None else trainer.lock_name
            if trainer is None or lock_name is None:
                continue
            try:
                with session(settings) as connection:
                    ours = trainer_lease.renew(
                        connection, settings.lineage, lock_name, settings.lease_seconds
                    )
            except Exception as error:  # noqa: BLE001  # this thread must survive every error
                log.warning("trainer.lease_not_renewed", why=str(error))
                continue
            if not ours:
                log.error("trainer.replaced", why="another trainer has the lineage's lease")
                trainer.kill()

    def bound_log(self) -> None:
        """Bound the log of the trainer until the process ends, a step or not (runs in a thread)."""
        while not self._stop.wait(_WATCH_SECONDS):
            trainer = self._trainer
            if trainer is None:
                continue
            try:
                bound_log(trainer.log_path)
            except OSError as error:  # it is tried again
                log.warning("trainer.log_not_bounded", why=str(error))

    def close(self) -> None:
        """End the trainer for good."""
        self._stop.set()
        if self._trainer is None:
            return
        lock_name = self._trainer.lock_name
        self._trainer.close()
        if lock_name is not None:
            settings = load_settings()
            with suppress(BabylonTasksError), session(settings, patience=1) as connection:
                trainer_lease.release(connection, settings.lineage, lock_name)


@contextmanager
def trainer_of_a_command() -> Iterator[Trainer]:
    """Use a trainer for the length of a block; at its end both it and its lease are over."""
    manager = TrainerManager()
    threading.Thread(target=manager.keep_lease, name="trainer-lease", daemon=True).start()
    try:
        with manager.lock() as trainer:
            yield trainer
    finally:
        manager.close()


trainer_manager = TrainerManager()


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _notice_queues(instance: Any, **_: Any) -> None:
    # In the worker's main process, before it forks: the children inherit the answer.
    trainer_manager.serves_gpu = trains(instance.app.amqp.queues.consume_from)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _start(**_: Any) -> None:
    if trainer_manager.serves_gpu:
        pool_children.at_each_beat(trainer_manager.note)
        # In a thread: a child that is not ready within worker_proc_alive_timeout is killed.
        for work, name in (
            (trainer_manager.watch, "trainer-manager"),
            (trainer_manager.keep_lease, "trainer-lease"),
            (trainer_manager.bound_log, "trainer-log"),
        ):
            threading.Thread(target=work, name=name, daemon=True).start()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _end(**_: Any) -> None:
    trainer_manager.close()
