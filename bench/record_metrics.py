"""What Prometheus would read of a real system: python -m bench.record_metrics [FILE]

A system of all processes, with the tests' tiny model, trains on ten hours, rests, and then loses
Redis, Postgres and its cpu-worker, one after the other. What each process exports meanwhile is
written to FILE, by default tests/recorded_metrics.json, from which the tests of alerts and
dashboard make their series. Takes about two minutes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from urllib.request import urlopen

import httpx
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from babylon_tasks.db import babylon, migrate
from babylon_tasks.db.session import connect
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.windows import WINDOW, window_id, window_start

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from acceptance.harness import OPTIONS, Babylon  # noqa: E402  # the tests' parts are no package
from models import save_tiny_model  # noqa: E402

RECORD = ROOT / "tests" / "recorded_metrics.json"
NAMES = ("gpu-worker", "cpu-worker", "beat", "gateway")
HOURS = 10
_PATIENCE = 120.0
Scrape = dict[str, float]


def scrape(stack: Stack) -> Scrape:
    """Read all processes, as Prometheus would; times in seconds before now, 0 for never."""
    found: Scrape = {}
    now = time.time()  # noqa: TID251  # no test
    for name in NAMES:
        target = f'instance="{name}:9464"'
        text = ""
        with (
            suppress(OSError),
            urlopen(f"http://127.0.0.1:{stack.metrics_ports[name]}/metrics", timeout=15) as answer,
        ):
            text = answer.read().decode()
        found[f"up{{{target}}}"] = float(bool(text))
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if not sample.name.startswith("babylon_"):
                    continue
                value = sample.value
                if sample.name.endswith("_timestamp_seconds") and value:
                    value -= now
                labels = "".join(f',{key}="{said}"' for key, said in sorted(sample.labels.items()))
                found[f"{sample.name}{{{target}{labels}}}"] = value
    return found


def compact(scrapes: list[Scrape]) -> dict[str, str]:
    """Write each series as ``value*count``, one after the other; ``_`` where it was absent."""
    written = {}
    for name in sorted({name for one in scrapes for name in one}):
        values = [f"{one[name]:.4g}" if name in one else "_" for one in scrapes]
        # Of the buckets only those in which something was.
        if "_bucket{" not in name or set(values) - {"0", "_"}:
            runs = [(value, len(list(same))) for value, same in groupby(values)]
            written[name] = " ".join(f"{value}*{count}" for value, count in runs)
    return written


class Recorder:
    """Scrapes the system about once a second while it waits."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.phases: dict[str, list[Scrape]] = {}

    def during(self, phase: str, done: Callable[[], bool]) -> None:
        """Record until it is done, and once more."""
        scrapes = self.phases.setdefault(phase, [])
        deadline = time.monotonic() + _PATIENCE
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{phase} does not end")
            scrapes.append(scrape(self._stack))
            time.sleep(1)
        scrapes.append(scrape(self._stack))

    def last(self, phase: str, sample: str, **labels: str) -> list[float]:
        """Return the newest values of a series."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return [
            value
            for name, value in (self.phases.get(phase) or [{}])[-1].items()
            if name.startswith(f"{sample}{{") and all(one in name for one in wanted)
        ]


def ask(stack: Stack) -> None:
    """Ask the gateway for an answer, as an agent does."""
    key = stack.settings.inference_api_key.get_secret_value()
    httpx.post(
        f"{stack.gateway_url}/chat/completions",
        headers={"Authorization": f"Bearer {key}"},
        json={
            "model": stack.settings.lineage,
            "messages": [{"role": "user", "content": "Will ACME close higher?"}],
            "max_tokens": 4,
        },
        timeout=60,
    )


def main() -> None:
    """Run the system, and write what was recorded."""
    with tempfile.TemporaryDirectory(prefix="babylon-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        options = {
            **OPTIONS,
            "BABYLON_BASE_MODEL": str(save_tiny_model(home / "model")),
            "BABYLON_LINEAGE": "babylon",
            "BABYLON_PROMOTION_MODE": "evaluated",
            "BABYLON_HELD_OUT_SHARE": "0.3",
            "BABYLON_OUTCOME_WAIT_HOURS": "0",
        }
        with (
            EmbeddedPostgres(home / "postgres", durable=False) as postgres,
            EmbeddedValkey(home / "valkey", persist=True) as valkey,
            Stack(
                home / "stack", options=options, database_url=postgres.url, redis_url=valkey.url
            ) as stack,
        ):
            babylon.create(stack.settings)
            migrate.apply(stack.settings)
            stack.start_processes(NAMES)
            recorder = Recorder(stack)
            play(stack, recorder, postgres, valkey)
    resting = recorder.phases["rest"][-1]
    recorded = {
        "learning": compact([*recorder.phases["learning"], *recorder.phases["rest"]]),
        **{phase: _changed(resting, recorder.phases[phase][-1]) for phase in FAULTS},
    }
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else RECORD
    file.write_text(json.dumps(recorded, indent=0) + "\n", "utf-8")
    print(f"{file}: {len(recorded['learning'])} series, {file.stat().st_size} bytes")


FAULTS = ("redis_away", "postgres_away", "cpu_worker_killed")


def play(
    stack: Stack, recorder: Recorder, postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    """Ten hours of work, a rest, and the faults."""
    ended = ("trained", "held_out", "skipped")
    with connect(stack.settings) as connection:
        system = Babylon(stack, connection)
        (now,) = psycopg.connect(postgres.url).execute("SELECT now()").fetchone() or (None,)
        hour = window_start(window_id(now))
        hours = [window_id(hour - back * WINDOW) for back in range(HOURS, 0, -1)]
        recorder.during("learning", lambda: recorder.last("learning", "babylon_ready") == [1] * 3)
        for window in hours:
            system.record(window, groups=2, agents=4)
            ask(stack)
            recorder.during("learning", lambda window=window: system.states().get(window) in ended)
        rested = iter(range(6))
        recorder.during("rest", lambda: next(rested, None) is None)
    valkey.kill()
    recorder.during("redis_away", lambda: recorder.last("redis_away", "babylon_ready") == [0] * 3)
    valkey.restart()
    recorder.during("back", lambda: recorder.last("back", "babylon_ready") == [1] * 3)
    postgres.kill()
    recorder.during(
        "postgres_away",
        lambda: (
            0 in recorder.last("postgres_away", "babylon_source_up", source="postgres")
            and recorder.last("postgres_away", "babylon_ready").count(0) == 2
        ),
    )
    postgres.restart()
    recorder.phases["back"].clear()
    recorder.during("back", lambda: recorder.last("back", "babylon_ready") == [1] * 3)
    stack.processes[1].child.kill()
    recorder.during(
        "cpu_worker_killed",
        lambda: 0 in recorder.last("cpu_worker_killed", "up", instance="cpu-worker:9464"),
    )


def _changed(before: Scrape, after: Scrape) -> dict[str, str]:
    """Write what differs from the state of rest; ``_`` for what is gone."""
    written = {}
    for name in sorted({*before, *after}):
        if after.get(name) != before.get(name) and "_bucket{" not in name:
            written[name] = f"{after[name]:.4g}" if name in after else "_"
    return written


if __name__ == "__main__":
    main()
