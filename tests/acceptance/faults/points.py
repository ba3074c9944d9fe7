"""Points in a window's life where a fault can strike: each brings the system there and holds it.

Where a table is locked, the transaction of that point waits for it, as long as the block lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psutil
from acceptance.faults.system import System
from acceptance.harness import until

Point = Callable[[System, str], AbstractContextManager[None]]
ALL = ("beat", "cpu-worker", "gpu-worker")
LONG = 40  # groups: enough gradient steps to be found at it


def start(system: System) -> None:
    """All processes, unless they run; returns when each could take work."""
    system.start(*(name for name in ALL if name not in system.names()))
    for worker in ("cpu-worker", "gpu-worker"):
        until(f"{worker} is ready", lambda name=worker: " ready." in system.log_since_start(name))


def _serves(system: System) -> bool:
    log = system.log_since_start("gpu-worker")  # the manager has started the trainer, or a step
    return system.trainer() is not None and ("trainer.started" in log or "training.ended" in log)


@contextmanager
def idle(system: System, window: str) -> Iterator[None]:
    """Nothing to do yet; the window's rows come during the fault, or after it if none can come."""
    start(system)
    until("the trainer serves", lambda: _serves(system))
    yield
    if system.takes_writes():
        system.record(window)


@contextmanager
def opening(system: System, window: str) -> Iterator[None]:
    """In ``discover``, which opens and seals the window."""
    start(system)
    with system.locked("windows"):
        system.record(window)
        system.await_waiter("windows")
        yield


@contextmanager
def scoring(system: System, window: str) -> Iterator[None]:
    """In the transaction that writes the scores of the window."""
    with system.locked("scores"):
        system.record(window)
        start(system)
        system.await_waiter("scores")
        yield


@contextmanager
def planning(system: System, window: str) -> Iterator[None]:
    """In the transaction that plans a step."""
    start(system)
    until("a trainer lives", system.trainer)  # to start one reads the steps
    with system.locked("steps"):
        system.record(window)
        system.await_waiter("steps")
        yield


@contextmanager
def training(system: System, window: str) -> Iterator[None]:
    """While the trainer runs the step: it is stopped for the length of the block."""
    system.record(window, groups=LONG)
    start(system)
    # Looked for before the step is: it takes longer than some steps on a machine of many processes.
    trainer = until("the trainer runs", system.trainer)
    until("a step runs", lambda: system.steps("running"))
    trainer.suspend()
    assert system.steps("running"), "the step is under way: the trainer has been stopped in it"
    yield
    _resume(system, trainer)


@contextmanager
def committing(system: System, window: str) -> Iterator[None]:
    """In the transaction that commits the step."""
    system.record(window, groups=LONG)
    start(system)
    until("a step runs", lambda: system.steps("running"))
    with system.locked("checkpoints"):
        system.await_waiter("checkpoints")
        yield


@contextmanager
def promoting(system: System, window: str) -> Iterator[None]:
    """In the transaction that promotes the checkpoint."""
    with system.locked("promotions"):
        system.record(window)
        start(system)
        system.await_waiter("promotions")
        yield


@contextmanager
def evaluating(system: System, window: str) -> Iterator[None]:
    """While the trainer evaluates the step's checkpoint: it is stopped while the block lasts."""
    start(system)
    until("the trainer serves", lambda: _serves(system))
    assert not system.evaluates_now()
    trainer = until("a trainer lives", system.trainer)
    system.record(window)
    until("the checkpoint is evaluated", lambda: _stopped_evaluating(system, trainer))
    yield
    _resume(system, trainer)


def _stopped_evaluating(system: System, trainer: psutil.Process) -> bool:
    if not system.evaluates_now():
        return False
    trainer.suspend()
    if system.evaluates_now():
        return True
    trainer.resume()  # it has just ended
    return False


def _resume(system: System, trainer: psutil.Process) -> None:
    if trainer.pid == system.frozen:
        return
    try:
        trainer.resume()
    except psutil.NoSuchProcess:
        return  # the fault ended it
