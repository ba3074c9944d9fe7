"""What each child of a worker's pool says of itself, for the probes of the worker's main process.

It lies in memory that both share, so reading it waits for nobody. A thread of the child says every
second that the child runs; its main thread, which runs the tasks, marks each piece of progress.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable, Iterable
from enum import IntEnum, auto
from typing import Any

import structlog
from billiard.process import current_process
from celery.signals import celeryd_after_setup, task_postrun, task_prerun, worker_process_init

from babylon_tasks import task_names
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import TASKS

BEAT_SECONDS = 1.0
# A child that has not run for so long is stopped, or some code keeps all its threads waiting.
SILENT_SECONDS = 60.0
_NOT_NOW_SECONDS = 10.0
# Between two pieces of a training step's progress, for all that neither the trainer's start nor
# its silence bounds: a child's own computing, and waits for Postgres.
_OWN_SECONDS = 600.0
_NAMES = tuple(TASKS)
log = structlog.get_logger(__name__)


class _Field(IntEnum):
    """The numbers of one child."""

    PID = 0
    BEAT = auto()
    TASK = auto()  # 0: none; else its place in _NAMES, from 1
    PROGRESS = auto()
    TRAINER_PID = auto()  # 0: none runs
    TRAINER_PORT = auto()  # 0: it serves elsewhere, or does not serve yet
    TRAINER_SERVES = auto()
    TRAINER_HEARD = auto()


_BYTES = 8 * len(_Field)


class PoolChild:
    """The numbers of one child; times are CLOCK_MONOTONIC, which is the same in all processes.

    Each is 8 bytes and written by one thread: a reader finds the old or the new one.
    """

    def __init__(self, numbers: memoryview[float]) -> None:
        self._numbers = numbers
        now = time.monotonic()
        self._write(BEAT=now, PROGRESS=now)

    def _write(self, **values: float) -> None:
        for name, value in values.items():
            self._numbers[_Field[name]] = float(value)

    def _read(self, field: _Field) -> float:
        return float(self._numbers[field])

    # --- in the child

    def enter(self) -> None:
        """Take over the place of a child that has ended, or of none yet."""
        self._write(**dict.fromkeys((one.name for one in _Field), 0.0))
        now = time.monotonic()
        self._write(PID=os.getpid(), BEAT=now, PROGRESS=now)

    def beat(self) -> None:
        """Note that the process runs."""
        self._write(BEAT=time.monotonic())

    def begin(self, task: str) -> None:
        """Note that a task has begun."""
        self._write(PROGRESS=time.monotonic())
        self._write(TASK=_NAMES.index(task) + 1 if task in _NAMES else 0)

    def progress(self) -> None:
        """Note that the task advances."""
        self._write(PROGRESS=time.monotonic())

    def end(self) -> None:
        """Note that no task runs."""
        self._write(PROGRESS=time.monotonic())
        self._write(TASK=0)

    def note_trainer(
        self, pid: int | None, *, serves: bool, port: int | None, silent: float | None
    ) -> None:
        """Note the trainer's process and port, and for how many seconds it has been silent."""
        heard = 0.0 if silent is None else time.monotonic() - silent
        self._write(TRAINER_PORT=port or 0, TRAINER_SERVES=serves, TRAINER_HEARD=heard)
        self._write(TRAINER_PID=pid or 0)

    # --- in the main process

    def silent(self, seconds: float) -> str | None:
        """Say that the child has not run for longer than this, if so."""
        silent = time.monotonic() - self._read(_Field.BEAT)
        if silent <= seconds:
            return None
        return f"pool child {int(self._read(_Field.PID))} has not run for {silent:.0f} s"

    def stuck(self, settings: Settings) -> str | None:
        """Say in which way the child is stuck, if it is."""
        silent = self.silent(SILENT_SECONDS)
        if silent is not None:
            return silent
        now = time.monotonic()
        running = int(self._read(_Field.TASK))
        idle = now - self._read(_Field.PROGRESS)
        if running and idle > longest_silence(_NAMES[running - 1], settings):
            return f"{_NAMES[running - 1]} has made no progress for {idle:.0f} s"
        return None

    @property
    def idle_seconds(self) -> float:
        """For how long the child has had no task; 0 while it has one."""
        return 0.0 if self._read(_Field.TASK) else time.monotonic() - self._read(_Field.PROGRESS)

    @property
    def trainer_pid(self) -> int | None:
        """The trainer's process id, while it runs."""
        return int(self._read(_Field.TRAINER_PID)) or None

    @property
    def trainer_serves(self) -> bool:
        """Whether the trainer has begun to serve what the database says."""
        return bool(self._read(_Field.TRAINER_SERVES))

    @property
    def trainer_port(self) -> int | None:
        """The port of the trainer's inference on this machine; None where it has none."""
        return int(self._read(_Field.TRAINER_PORT)) or None

    @property
    def trainer_silent(self) -> float:
        """For how many seconds the trainer's process has said nothing, not even that it lives."""
        return time.monotonic() - self._read(_Field.TRAINER_HEARD)


def longest_silence(task: str, settings: Settings) -> float:
    """Return for how many seconds a task may make no progress before it counts as stuck.

    Of a step, all that is longer than the worker's own work is the trainer, which is ended when it
    starts or answers too late. The others report no progress in all their phases, and are ended by
    Celery at their hard limit.
    """
    if task == task_names.TRAIN_WINDOW:
        return (
            settings.trainer_start_timeout_seconds
            + settings.trainer_silence_timeout_seconds
            + _OWN_SECONDS
        )
    return TASKS[task].hard_limit + SILENT_SECONDS


class PoolChildren:
    """The places of a pool's children; made before they are forked."""

    def __init__(self) -> None:
        self._places: list[PoolChild] = []
        self._own: PoolChild | None = None
        self._each_beat: list[Callable[[PoolChild], None]] = []
        self._handed: dict[str, float] = {}
        self._longest_handed = 0.0

    def make(self, count: int) -> None:
        """Make the places, in the main process."""
        shared = memoryview(mmap.mmap(-1, count * _BYTES)).cast("d")
        size = len(_Field)
        self._places = [PoolChild(shared[n * size : (n + 1) * size]) for n in range(count)]

    def enter(self, place: int) -> None:
        """Take a place, in the child, and say every second that the child runs."""
        if place < len(self._places):
            self._own = self._places[place]
            self._own.enter()
            threading.Thread(target=self._beat, name="pool-child", daemon=True).start()

    def at_each_beat(self, note: Callable[[PoolChild], None]) -> None:
        """Call this from the child's thread each second; it must wait for nothing."""
        self._each_beat.append(note)

    @property
    def own(self) -> PoolChild | None:
        """The place of this process; None where it is no child of a worker."""
        return self._own

    def progress(self) -> None:
        """Note that the task of this process advances."""
        if self._own is not None:
            self._own.progress()

    def note_handed(self, tasks: Iterable[str]) -> None:
        """Note, in the main process, the ids of the tasks that no child has begun yet.

        Only while somebody looks do they count as waiting: a loop that hangs sees no task begin.
        """
        now = time.monotonic()
        self._handed = {task: self._handed.get(task, now) for task in tasks}
        self._longest_handed = now - min(self._handed.values(), default=now)

    def stuck(self, settings: Settings) -> str | None:
        """Say which child is stuck, and in which way, if one is."""
        why = next((why for one in self._places if (why := one.stuck(settings))), None)
        if why is not None:
            return why
        handed = self._longest_handed
        idle = max((one.idle_seconds for one in self._places), default=0.0)
        if min(handed, idle) > SILENT_SECONDS:
            return f"a task has waited {handed:.0f} s for a pool child that has none"
        return None

    def silent(self) -> str | None:
        """Say which child does not run now, if one does not: no reason yet to end it."""
        return next((why for one in self._places if (why := one.silent(_NOT_NOW_SECONDS))), None)

    @property
    def first(self) -> PoolChild | None:
        """The first child; the only one of a worker on queue gpu."""
        return self._places[0] if self._places else None

    def _beat(self) -> None:
        own = self._own
        while own is not None:
            for note in self._each_beat:
                try:
                    note(own)
                except Exception:  # else the child would seem to be stuck
                    log.exception("pool_child.not_noted")
            own.beat()
            time.sleep(BEAT_SECONDS)


pool_children = PoolChildren()


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _make(instance: Any, **_: Any) -> None:
    pool_children.make(int(instance.concurrency or 1))


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _enter(**_: Any) -> None:
    pool_children.enter(int(getattr(current_process(), "index", 0)))


@task_prerun.connect  # type: ignore[untyped-decorator]
def _begin(task: Any, **_: Any) -> None:
    if pool_children.own is not None:
        pool_children.own.begin(task.name)


@task_postrun.connect  # type: ignore[untyped-decorator]
def _end(**_: Any) -> None:
    if pool_children.own is not None:
        pool_children.own.end()
