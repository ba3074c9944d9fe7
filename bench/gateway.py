"""Measure the gateway: ``python -m bench.gateway``; about six minutes, on an idle machine.

``--brief``: two minutes, 1 and 64 calls at once, so few that the p99 is a rough one.

Whole processes on one machine: a Postgres, a gateway, and two servers that answer after a fixed
time, one as another provider and one as a checkpoint's, with log-probabilities. It prints

- what the gateway adds to answers at 1, 64 and 256 calls at once: the difference of the percentiles
  of answers through it and of those alone, by turns;
- how many calls a core carries: answers that take their server no time; and what a call costs by
  the words of its prompt;
- how long after a promotion the first answer of the new checkpoint comes, on an open connection;
- what becomes of captures at ten times the rate that a replica can write (``bench.capture_flood``).

All of it shares the machine's cores with the clients and the servers. Where something else is busy
on it, which each line says of its own time, the figures are that one's too. Ends with an error
where the figures would not be what they are called: too few calls for a p99 at 64, a flood of less
than ten times, captures that Postgres does not have.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import psutil
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from babylon_tasks.db import lineages
from babylon_tasks.db.babylon import create
from babylon_tasks.db.migrate import apply
from babylon_tasks.db.session import session
from babylon_tasks.registry import serving
from babylon_tasks.sandbox.servers import EmbeddedPostgres, free_port
from babylon_tasks.settings import Settings
from bench.added_latency import Target, Turns, added, by_prompt, carried

LINEAGE = "bench"
KEY = "key-of-the-benchmark"
TOKENS = 300
# By how many are asked at once. The p99 at 64 is the one with an aim.
TURNS = {1: Turns(3.5, 4, 400), 64: Turns(7.5, 5, 4000), 256: Turns(3, 3, 1000)}
BRIEF = {1: Turns(3, 2, 150), 64: Turns(5, 2, 800)}
ALONE = 0.02  # seconds of an answer where only one is asked at once: enough of them are measured
CARRIED = 64  # clients whose answers take the server no time
CARRIED_SECONDS = 5.0
PROMPT_SECONDS = 2.0
PROMOTIONS = 10


class Scene(NamedTuple):
    """The gateway, and what it stands before."""

    settings: Settings
    gateway: psutil.Process
    port: int
    metrics_port: int
    other: str
    checkpoint: str

    @property
    def url(self) -> str:
        """The gateway's base URL."""
        return f"http://127.0.0.1:{self.port}/v1"


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
def slow_server(tokens: int) -> Iterator[str]:
    """Run a server whose answers have so many tokens; yields its base URL."""
    with process("bench.slow_server", str(tokens)) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}/v1"


@contextmanager
def opened(home: Path) -> Iterator[Scene]:
    """Run a database, both servers, and a gateway before them."""
    with ExitStack() as stack:
        database = stack.enter_context(EmbeddedPostgres(home / "postgres", durable=False)).url
        settings = Settings(database_url=SecretStr(database), lineage=LINEAGE)
        other, checkpoint = (stack.enter_context(slow_server(count)) for count in (0, TOKENS))
        create(settings)
        apply(settings)
        with session(settings) as connection:
            lineages.ensure(connection, settings)
            lineages.announce(connection, LINEAGE, backend="cpu", base_url=checkpoint)
            connection.execute(
                "INSERT INTO training.checkpoints (lineage, step, inference_name, uri)"
                " SELECT lineage, 1, 'bench@1', 'x' FROM training.checkpoints WHERE step = 0"
            )
        port, metrics_port = free_port(), free_port()
        variables = {
            "DATABASE_URL": database,
            "BABYLON_LINEAGE": LINEAGE,
            "BABYLON_GATEWAY_PORT": str(port),
            "BABYLON_METRICS_PORT": str(metrics_port),
            "BABYLON_GATEWAY_KEYS": f"bench:{KEY}",
            "BABYLON_GATEWAY_MAX_REQUESTS": str(2 * max(TURNS)),
            "BABYLON_GATEWAY_SPOOL_DIR": str(home / "calls"),
            "BABYLON_GATEWAY_UPSTREAMS": json.dumps(
                {"other": {"base_url": other, "models": ["m"]}}
            ),
            "BABYLON_LOG_LEVEL": "WARNING",
        }
        child = stack.enter_context(process("babylon_tasks", "run", "gateway", **variables))
        while not _is_ready(port):
            if child.poll() is not None:
                raise RuntimeError(f"the gateway ended with {child.returncode}")
            time.sleep(0.1)
        gateway = psutil.Process(child.pid)
        yield Scene(settings, gateway, port, metrics_port, other, checkpoint)


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def machine() -> str:
    """Say what this is measured on, and what else runs there."""
    busy = psutil.cpu_percent(interval=2)
    python = sys.version.split()[0]
    return f"{os.cpu_count()} cores, {busy:.0f} % busy with other work, Python {python}"


def followed(scene: Scene, promotions: int) -> list[float]:
    """Move the pointer to and fro; returns the milliseconds to the first answer that obeys, each.

    One client asks without a pause over one connection; its answers take the server no time.
    """
    connection = HTTPConnection("127.0.0.1", scene.port, timeout=30)
    messages = [{"role": "user", "content": "Will ACME close higher?"}]
    body = json.dumps({"model": LINEAGE, "messages": messages, "user": "0"}, separators=(",", ":"))
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}

    def answered_by() -> str:
        connection.request("POST", "/v1/chat/completions", body, headers)
        return str(json.loads(connection.getresponse().read())["model"])

    took = []
    with session(scene.settings) as database:
        for number in range(promotions):
            step = 1 - number % 2
            time.sleep(random.uniform(0, 0.5))
            serving.promote(database, LINEAGE, step, reason="bench", figures={}, actor="bench")
            begun = time.perf_counter()
            while answered_by() != f"{LINEAGE}@{step}":
                pass
            took.append((time.perf_counter() - begun) * 1000)
    connection.close()
    return took


def captured(scene: Scene) -> str:
    """Say what became of all captures until now; raises RuntimeError where Postgres has others."""
    deadline = time.monotonic() + 30
    while True:
        answers = counters(scene, "babylon_gateway_duration_seconds_count", "code")["200"]
        became = counters(scene, "babylon_gateway_captures_total", "state")
        unknown = answers - sum(became.values())
        if not unknown or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    written = became.pop("written")
    with session(scene.settings) as connection:
        row = connection.execute("SELECT count(*) FROM training.calls").fetchone()
    rows = row[0] if row else 0
    if rows != written:
        raise RuntimeError(f"{rows} calls are in Postgres, {written} by the gateway's counter")
    return (
        f"of its {answers} answers until here {written} captures are in Postgres, "
        f"{sum(became.values())} were lost and counted, {unknown} are not accounted for"
    )


def counters(scene: Scene, name: str, label: str) -> Counter[str]:
    """Read a counter of the gateway, by a label."""
    connection = HTTPConnection("127.0.0.1", scene.metrics_port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels[label]] += int(sample.value)
    return found


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="to try it out: no figures")
    parser.add_argument("--brief", action="store_true", help="fewer turns, at 1 and 64 only")
    parser.add_argument("--answer", type=float, default=0.5, help="seconds that an answer takes")
    parser.add_argument("--clients", type=int, nargs="*", choices=TURNS, default=list(TURNS))
    given = parser.parse_args()
    chosen = BRIEF if given.brief else TURNS
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o711)
        with opened(home) as scene:
            for name, model, alone in (
                ("another server, whose bytes pass unread", "m", scene.other),
                (f"a checkpoint, whose {TOKENS} tokens are captured", LINEAGE, scene.checkpoint),
            ):
                print(f"{name}:", flush=True)
                target = Target(model, scene.url, alone, KEY, scene.gateway)
                for clients in (one for one in given.clients if one in chosen):
                    answer = ALONE if clients == 1 else given.answer
                    turns = Turns(0.5, 1, 2) if given.short else chosen[clients]
                    print(f"  {added(target, clients, answer, turns)}", flush=True)
                print(
                    f"  {carried(target, CARRIED, 0.5 if given.short else CARRIED_SECONDS)}",
                    flush=True,
                )
                seconds = 0.5 if given.short else PROMPT_SECONDS
                print(by_prompt(target, CARRIED, seconds), flush=True)
            print(f"  {captured(scene)}")
            took = followed(scene, 1 if given.short else PROMOTIONS)
            print(
                f"a promotion: first answer of the new checkpoint after "
                f"{statistics.median(took):.0f} ms, at most {max(took):.0f} ({len(took)} times)"
            )
            print("captures at ten times the rate that one replica writes:", flush=True)
            url = scene.settings.database_url.get_secret_value()
            flood = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "bench.capture_flood",
                    "--seconds",
                    "2" if given.short else "4" if given.brief else "10",
                ],
                env={**os.environ, "DATABASE_URL": url},
                check=False,
            )
            if flood.returncode:
                sys.exit(flood.returncode)


if __name__ == "__main__":
    main()
