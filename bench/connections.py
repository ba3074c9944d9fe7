"""Score small hours over kept connections and over new ones: ``python -m bench.connections``.

The two take turns, so that a slow moment of the machine strikes both. Prints the means for each
hour: new connections, CPU milliseconds of Postgres and of the scoring process, wall milliseconds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import fmean
from unittest.mock import patch

import psutil
import psycopg
from pydantic import SecretStr

from babylon_tasks.db.babylon import create
from babylon_tasks.db.kept_connections import KeptConnections, kept
from babylon_tasks.db.migrate import apply
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings
from babylon_tasks.windows import WINDOW, window_id, window_start

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from factories import EVER, exact_call, insert_trajectories, step, trajectory  # noqa: E402

HOURS = 60
FIRST = "2026-01-28T00:00"


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Let each session open a connection of its own."""
    with (
        patch.object(KeptConnections, "take", lambda *_, **__: None),
        patch.object(KeptConnections, "keep", lambda _, __, connection: connection.close()),
    ):
        yield


def fill(url: str) -> list[str]:
    """Create the tables and the hours, two trajectories each."""
    settings = Settings(database_url=SecretStr(url))
    create(settings)
    apply(settings)
    hours = [window_id(window_start(FIRST) + n * WINDOW) for n in range(HOURS)]
    rows = []
    for hour in hours:
        for agent in range(2):
            steps = [step(0, [exact_call("YES" if agent else "NO")], window=hour)]
            rows.append(trajectory(hour, f"agent-{agent}", steps, final_pnl=100.0 * agent))
    with psycopg.connect(url, autocommit=True) as connection:
        insert_trajectories(connection, rows)
    return hours


def cpu(server: psutil.Process, postgres: psycopg.Connection) -> dict[str, float]:
    """Return what was used so far: CPU seconds of server and client, and connections."""
    # Ended backends count in the parent's children, as it reaps them at once.
    times = [server.cpu_times(), *(p.cpu_times() for p in server.children())]
    row = postgres.execute("SELECT sessions FROM pg_stat_database WHERE datname = 'postgres'")
    ended = times[0].children_user + times[0].children_system
    return {
        "server": ended + sum(t.user + t.system for t in times),
        "client": time.process_time(),
        "wall": time.perf_counter(),
        "sessions": float((row.fetchone() or [0])[0]),
    }


def main() -> None:
    """Print the medians of both ways and their ratios."""
    with tempfile.TemporaryDirectory(prefix="babylon-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as server:
            hours = fill(server.url)
            settings = Settings(
                database_url=SecretStr(server.url),
                lookback_hours=int(EVER),
                grace_seconds=0,
                log_level="ERROR",
            )
            discover(settings, actor="bench")
            used: dict[str, list[dict[str, float]]] = {"kept": [], "new": []}
            ways = {"kept": nullcontext, "new": nothing_kept}
            process = psutil.Process(server.pid)
            with psycopg.connect(server.url, autocommit=True) as watch:
                for number, hour in enumerate(hours):
                    way = "new" if number % 2 else "kept"
                    with ways[way]():
                        before = cpu(process, watch)
                        score_window(settings, hour, actor="bench")
                        after = cpu(process, watch)
                    used[way].append({name: after[name] - before[name] for name in after})
            kept.close()
    for name, unit in (("sessions", ""), ("server", " ms"), ("client", " ms"), ("wall", " ms")):
        scale = 1000 if unit else 1
        mean = {way: scale * fmean(row[name] for row in rows[2:]) for way, rows in used.items()}
        ratio = mean["new"] / mean["kept"] if mean["kept"] else float("inf")
        print(
            f"{name:9} new {mean['new']:7.2f}{unit}  kept {mean['kept']:7.2f}{unit}  x{ratio:.2f}"
        )


if __name__ == "__main__":
    main()
