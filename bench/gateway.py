"""Measure what the gateway adds to an answer's time: ``python -m bench.gateway``.

Whole processes on one machine: a Postgres, a gateway, and two servers that answer after a fixed
time, one as another provider and one as a checkpoint's, with log-probabilities. Each number of
clients asks each server by itself and through the gateway; what is added is the difference of the
percentiles. Then 64 clients ask for answers that take no time, which shows how many calls a core of
the gateway carries.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil
from pydantic import SecretStr

from babylon_tasks.db import lineages
from babylon_tasks.db.babylon import create
from babylon_tasks.db.migrate import apply
from babylon_tasks.db.session import session
from babylon_tasks.sandbox.servers import EmbeddedPostgres, free_port
from babylon_tasks.settings import Settings
from bench.load import load

LINEAGE = "bench"
KEY = "key-of-the-benchmark"
TOKENS = 300
CLIENTS = (1, 64, 256)
CARRIED = 64  # clients whose answers take the server no time
ROUTES = {"another server": "m", "a checkpoint": LINEAGE}


@contextmanager
def process(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python module; its output is its log, but for the first line."""
    child = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.terminate()
        child.communicate(timeout=60)


@contextmanager
def slow_server(seconds: float, tokens: int) -> Iterator[str]:
    """Run a server that answers after so long; yields its base URL."""
    with process("bench.slow_server", str(seconds), str(tokens)) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}/v1"


@contextmanager
def gateway(database: str, checkpoint: str, other: str) -> Iterator[tuple[str, int]]:
    """Run a gateway before both servers; yields its base URL and its process id."""
    settings = Settings(database_url=SecretStr(database), lineage=LINEAGE)
    create(settings)
    apply(settings)
    with session(settings) as connection:
        lineages.ensure(connection, settings)
        lineages.announce(connection, LINEAGE, backend="cpu", base_url=checkpoint)
    port = free_port()
    variables = {
        "DATABASE_URL": database,
        "BABYLON_LINEAGE": LINEAGE,
        "BABYLON_GATEWAY_PORT": str(port),
        "BABYLON_GATEWAY_KEYS": f"bench:{KEY}",
        "BABYLON_GATEWAY_MAX_REQUESTS": str(max(CLIENTS)),
        "BABYLON_GATEWAY_UPSTREAMS": json.dumps({"other": {"base_url": other, "models": ["m"]}}),
        "BABYLON_LOG_LEVEL": "WARNING",
    }
    with process("babylon_tasks", "run", "gateway", **variables) as child:
        while not _is_ready(port):
            if child.poll() is not None:
                raise RuntimeError(f"the gateway ended with {child.returncode}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1", child.pid


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def asked(model: str, **more: Any) -> dict[str, Any]:
    """Write a request with a prompt of about 4,000 tokens."""
    return {"model": model, "messages": [{"role": "user", "content": "word " * 4000}], **more}


def percentiles(took: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile in milliseconds."""
    found = quantiles(took, n=100, method="inclusive")
    return found[49] * 1000, found[98] * 1000


def added(url: str, alone: str, model: str, clients: int, seconds: float) -> None:
    """Print how much longer answers take through the gateway than alone."""
    both = []
    for address in (alone, url):
        path = f"{address}/chat/completions"
        took = asyncio.run(load(path, asked(model), KEY, clients=clients, seconds=seconds))
        both.append((*percentiles(took), len(took)))
    (half, most, _), (half_through, most_through, calls) = both
    by = f"p50 {half_through - half:+6.1f} ms, p99 {most_through - most:+6.1f} ms"
    print(
        f"  {clients:4d} clients: {by} (alone {half:.1f} and {most:.1f}; {calls} calls)",
        flush=True,
    )


def carried(url: str, pid: int, model: str, seconds: float) -> None:
    """Print how many calls a second one core of the gateway carries."""
    gateway_process = psutil.Process(pid)
    before = gateway_process.cpu_times()
    path = f"{url}/chat/completions"
    body = asked(model, user="now")
    took = asyncio.run(load(path, body, KEY, clients=CARRIED, seconds=seconds))
    after = gateway_process.cpu_times()
    used = after.user + after.system - before.user - before.system
    memory = gateway_process.memory_info().rss / 2**20
    by = f"{len(took) / seconds:.0f} calls/s, {len(took) / used:.0f} calls/s and core"
    print(
        f"  {CARRIED} clients that never wait: {by}; {memory:.0f} MB resident",
        flush=True,
    )


def main() -> None:
    """Print what is added, and what a core carries, for both kinds of servers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--answer", type=float, default=0.5, help="seconds that an answer takes")
    parser.add_argument("--clients", type=int, nargs="*", default=CLIENTS)
    given = parser.parse_args()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home.chmod(0o711)
        database = stack.enter_context(EmbeddedPostgres(home / "postgres", durable=False)).url
        servers = {
            "another server": stack.enter_context(slow_server(given.answer, 0)),
            "a checkpoint": stack.enter_context(slow_server(given.answer, TOKENS)),
        }
        url, pid = stack.enter_context(
            gateway(database, servers["a checkpoint"], servers["another server"])
        )
        for name, model in ROUTES.items():
            print(f"{name}, {given.answer:g} s an answer:", flush=True)
            for clients in given.clients:
                added(url, servers[name], model, clients, given.seconds)
            carried(url, pid, model, given.seconds)


if __name__ == "__main__":
    main()
