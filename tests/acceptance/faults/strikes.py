"""Faults: each strikes, waits where its effect must be seen, and ends what can be ended.

A generator: before ``yield`` it strikes, while the system is held at a point; after it the point
has been released.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import psutil
import redis
from acceptance.faults.system import System
from acceptance.harness import sender, until

from babylon_tasks.tasks.app import KEY_PREFIX

Strike = Callable[[System], AbstractContextManager[None]]

# --- processes


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
    system.pool_child("cpu-worker").kill()
    yield


@contextmanager
def gpu_child_killed(system: System) -> Iterator[None]:
    """The kernel kills the GPU worker's child, and the trainer ends with it."""
    system.pool_child("gpu-worker").kill()
    yield


@contextmanager
def trainer_killed(system: System) -> Iterator[None]:
    """The kernel kills the trainer (out of memory)."""
    trainer = until("a trainer lives", system.trainer)
    trainer.kill()
    yield


def _stopped(system: System, name: str) -> Iterator[None]:
    system.signal_worker(name, signal.SIGSTOP)
    yield
    until("its leases are over", lambda: not _leases(system))
    system.signal_worker(name, signal.SIGCONT)


@contextmanager
def cpu_worker_stopped(system: System) -> Iterator[None]:
    """The CPU worker is stopped until its lease is over, then continues unaware."""
    yield from _stopped(system, "cpu-worker")


@contextmanager
def gpu_worker_stopped(system: System) -> Iterator[None]:
    """The GPU worker is stopped until its lease is over, then continues; the trainer runs on."""
    yield from _stopped(system, "gpu-worker")


# --- Postgres


@contextmanager
def postgres_killed(system: System) -> Iterator[None]:
    """SIGKILL to Postgres; it is started again."""
    system.postgres.kill()
    yield
    system.postgres.restart()


@contextmanager
def postgres_restarted(system: System) -> Iterator[None]:
    """Postgres is shut down and started again."""
    system.postgres.restart()
    yield


@contextmanager
def postgres_connections_ended(system: System) -> Iterator[None]:
    """An administrator ends every connection (a failover does as well)."""
    _end_sessions(system)
    yield


@contextmanager
def postgres_connections_ended_again(system: System) -> Iterator[None]:
    """Every connection is ended again and again, for longer than all attempts would last."""
    yield
    for _ in range(40):
        _end_sessions(system)
        time.sleep(0.3)


@contextmanager
def postgres_connections_reset(system: System) -> Iterator[None]:
    """The network resets every connection to Postgres and refuses new ones for a while."""
    system.postgres_proxy.refuse()
    system.postgres_proxy.cut()
    yield
    system.postgres_proxy.refuse(False)


@contextmanager
def postgres_connections_dead(system: System) -> Iterator[None]:
    """Every connection to Postgres is half-open from now on, for ever; new ones work."""
    system.postgres_proxy.half_open()
    yield


@contextmanager
def postgres_frozen(system: System) -> Iterator[None]:
    """Postgres is stopped (a frozen machine) for longer than every lease."""
    family = [psutil.Process(system.postgres.pid)]
    family += family[0].children(recursive=True)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    yield
    _outlast_leases(system)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.resume()


@contextmanager
def postgres_read_only(system: System) -> Iterator[None]:
    """Postgres takes no writes (a failover leaves a standby)."""
    _default_read_only(system, on=True)
    _end_sessions(system)
    yield
    _refused = "read-only transaction"
    until("a worker has met it", lambda: any(_refused in text for text in _logs(system)))
    _default_read_only(system, on=False)


def _default_read_only(system: System, *, on: bool) -> None:
    with system.open() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(
            f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}"
        )
        connection.execute("SELECT pg_reload_conf()")


def _end_sessions(system: System) -> None:
    system.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


# --- Redis


@contextmanager
def redis_killed(system: System) -> Iterator[None]:
    """SIGKILL to Redis; it comes back empty."""
    system.valkey.kill()
    yield
    system.valkey.restart()


@contextmanager
def redis_emptied(system: System) -> Iterator[None]:
    """FLUSHALL."""
    with system.redis() as client:
        client.flushall()
    yield


@contextmanager
def redis_full(system: System) -> Iterator[None]:
    """Redis is out of memory and refuses writes."""
    with system.redis() as client:
        client.config_set("maxmemory", 1)
        yield
        until("a process has met it", lambda: _refusals(client, "OOM"))
        client.config_set("maxmemory", 0)


@contextmanager
def redis_read_only(system: System) -> Iterator[None]:
    """Redis is a replica and refuses writes (a failover)."""
    with system.redis() as client:
        client.replicaof("127.0.0.1", "1")
        yield
        until("a process has met it", lambda: _refusals(client, "READONLY"))
        client.replicaof("NO", "ONE")


@contextmanager
def redis_frozen(system: System) -> Iterator[None]:
    """Redis is stopped for longer than every lease."""
    process = psutil.Process(system.valkey.pid)
    process.suspend()
    yield
    _outlast_leases(system)
    process.resume()


@contextmanager
def redis_connections_dead(system: System) -> Iterator[None]:
    """Every connection to Redis is half-open from now on, for ever; new ones work."""
    system.valkey_proxy.half_open()
    yield


# --- messages


@contextmanager
def messages_repeated(system: System) -> Iterator[None]:
    """Every message three times more."""
    app = sender(system.stack.settings)
    for window in [*system.states(), None]:
        score = app.signature("babylon.score_window.v1", (window,), immutable=True)
        train = app.signature("babylon.train_window.v1", (window,), immutable=True)
        for _ in range(3):
            (train if window is None else score | train).apply_async()
    yield


@contextmanager
def garbage_sent(system: System) -> Iterator[None]:
    """Messages of no shape on every queue."""
    envelope = {"content-type": "application/json", "content-encoding": "utf-8", "properties": {}}
    garbage = [
        b"no json",
        b"[]",
        b"5",
        json.dumps(
            {**envelope, "body": "bnVsbA==", "headers": {"task": ["a"], "id": "1"}}
        ).encode(),
        json.dumps({**envelope, "body": None, "headers": {}}).encode(),
    ]
    with system.redis() as client:
        for queue in ("cpu", "gpu", "upkeep"):
            client.lpush(KEY_PREFIX + queue, *garbage)
        yield
        for queue in ("cpu", "gpu", "upkeep"):
            until(f"queue {queue} is rid of it", lambda name=queue: not _holds(client, name))


def _holds(client: redis.Redis, queue: str) -> bool:
    found: list[bytes] = client.lrange(KEY_PREFIX + queue, 0, -1)  # type: ignore[assignment]
    return any(message in (b"no json", b"[]", b"5") for message in found)


# --- what all share


def _leases(system: System) -> bool:
    return bool(
        system.rows(
            "SELECT FROM training.windows WHERE lease_until > now()"
            " UNION ALL SELECT FROM training.lineages WHERE lease_until > now()"
        )
    )


def _outlast_leases(system: System) -> None:
    time.sleep(1.2 * system.stack.settings.lease_seconds)


def _logs(system: System) -> list[str]:
    return [system.log(name) for name in system.names()]


def _refusals(client: redis.Redis, kind: str) -> bool:
    counted: dict[str, object] = client.info("errorstats")  # type: ignore[assignment]
    return any(name.endswith(kind) for name in counted)
