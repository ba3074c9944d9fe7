"""Redis dies, stops, forgets, takes no writes, or cannot be reached."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import redis
from acceptance.faults.strikes.leases import outlast_leases
from acceptance.faults.system import System
from acceptance.harness import until


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
def redis_emptied_again(system: System) -> Iterator[None]:
    """FLUSHALL again and again, each 0.3 s, for longer than every lease."""
    with system.redis() as client:
        client.flushall()
        yield
        for _ in range(40):
            client.flushall()
            time.sleep(0.3)


@contextmanager
def redis_full(system: System) -> Iterator[None]:
    """Redis is out of memory and refuses writes."""
    with system.redis() as client:
        client.config_resetstat()
        client.config_set("maxmemory", 1)
        yield
        until("a process has met it", lambda: _refusals(client, "OOM"))
        client.config_set("maxmemory", 0)


@contextmanager
def redis_read_only(system: System) -> Iterator[None]:
    """Redis is a replica and refuses writes (a failover)."""
    with system.redis() as client:
        client.config_resetstat()
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
    outlast_leases(system)
    process.resume()


@contextmanager
def redis_connections_dead(system: System) -> Iterator[None]:
    """Every connection to Redis is half-open from now on, for ever; new ones work."""
    system.valkey_proxy.half_open()
    yield


def _refusals(client: redis.Redis, kind: str) -> bool:
    counted: dict[str, object] = client.info("errorstats")  # type: ignore[assignment]
    return any(name.endswith(kind) for name in counted)
