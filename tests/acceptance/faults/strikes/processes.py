"""Processes die, are ended, or stop for a while."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from acceptance.faults.strikes.leases import leases
from acceptance.faults.system import System
from acceptance.harness import until


@contextmanager
def cpu_worker_killed(system: System) -> Iterator[None]:
    """SIGKILL to the CPU worker and its children; an orchestrator starts it again."""
    system.kill("cpu-worker")
    yield
    system.start("cpu-worker")


@contextmanager
def gpu_worker_killed(system: System) -> Iterator[None]:
    """SIGKILL to the GPU worker, its children and the trainer; it is started again."""
    system.kill("gpu-worker")
    yield
    system.start("gpu-worker")


@contextmanager
def beat_killed(system: System) -> Iterator[None]:
    """SIGKILL to beat; it is started again."""
    system.kill("beat")
    yield
    system.start("beat")


@contextmanager
def gpu_worker_terminated(system: System) -> Iterator[None]:
    """SIGTERM to the GPU worker, as on a rollout; it is started again."""
    worker = system.terminate("gpu-worker")
    yield
    until("the worker has ended", lambda: worker.child.poll() is not None)
    system.start("gpu-worker")


@contextmanager
def cpu_child_killed(system: System) -> Iterator[None]:
    """The kernel kills the CPU worker's child (out of memory)."""
    system.kill_child("cpu-worker")
    yield


@contextmanager
def gpu_child_killed(system: System) -> Iterator[None]:
    """The kernel kills the GPU worker's child, and the trainer ends with it."""
    system.kill_child("gpu-worker")
    yield


@contextmanager
def trainer_killed(system: System) -> Iterator[None]:
    """The kernel kills the trainer (out of memory)."""
    trainer = until("a trainer lives", system.trainer)
    trainer.kill()
    yield


@contextmanager
def trainer_frozen(system: System) -> Iterator[None]:
    """The trainer is stopped and never goes on, until its worker ends it for its silence."""
    trainer = until("a trainer lives", system.trainer)
    trainer.suspend()
    system.frozen = trainer.pid
    yield
    until("its worker has ended it", lambda: not trainer.is_running())
    system.frozen = None


def _stopped(system: System, name: str) -> Iterator[None]:
    system.signal_worker(name, signal.SIGSTOP)
    yield
    until("its leases are over", lambda: not leases(system))
    system.signal_worker(name, signal.SIGCONT)


@contextmanager
def cpu_worker_stopped(system: System) -> Iterator[None]:
    """The CPU worker is stopped until its lease is over, then continues unaware."""
    yield from _stopped(system, "cpu-worker")


@contextmanager
def gpu_worker_stopped(system: System) -> Iterator[None]:
    """The GPU worker is stopped until its lease is over, then continues; the trainer runs on."""
    yield from _stopped(system, "gpu-worker")
