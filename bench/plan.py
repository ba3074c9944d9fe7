"""Plan hours of thousands of agents: ``python -m bench.plan --agents 500 1000 2000``.

One scenario, so all trajectories can be compared. Each hour, in a Postgres of its own, is scored
as usual, then step after step is planned and committed until nothing of it is left. The trainer is
the tests' own, without a network: everything but training is measured. With ``--inspect`` the cpu
backend's real tokenizer proves the candidates instead. Prints groups, members, tokens, seconds and
CPU seconds of each step of the largest hour, peak resident memory, and the result for every
trajectory; then how each cost grows with the agents. ``--agents 20000 --scenarios 1250`` with
``BABYLON_STEP_TOKEN_BUDGET=1000000000`` is one step of 1,250 groups.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import psycopg
from pydantic import SecretStr

from babylon_tasks.db.babylon import create
from babylon_tasks.db.migrate import apply
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings, load_settings
from babylon_tasks.training.protocol import Inspected, InspectRequest
from babylon_tasks.training.supervisor import Trainer
from bench.growth import SIZES, curve

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from crowd import crowd  # noqa: E402  # the tests' parts are no package
from factories import EVER, WINDOW  # noqa: E402
from peer import PeerTrainer  # noqa: E402


def fill(url: str, agents: int, scenarios: int) -> None:
    """Create the tables, the rows and a scored window."""
    settings = Settings(database_url=SecretStr(url))
    create(settings)
    apply(settings)
    with psycopg.connect(url, autocommit=True) as connection:
        crowd(connection, agents, strangers=agents // 100, scenarios=scenarios)


class Proving(PeerTrainer):
    """The tests' trainer, except that the real one proves candidates."""

    def __init__(self, settings: Settings, real: Trainer) -> None:
        super().__init__(settings.data_dir / "peer", settings.lineage)
        self._real = real

    def inspect(self, request: InspectRequest, on_progress: Any) -> Inspected:
        return self._real.inspect(request, on_progress)


def score() -> dict[str, Any]:
    """Score the hour in this process."""
    settings = load_settings()
    discover(settings, actor="bench")
    began, cpu = time.perf_counter(), time.process_time()
    scored = score_window(settings, WINDOW, actor="bench")
    return {
        "scored": scored.scored,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "peak": _peak(),
    }


def steps(*, proving: bool) -> dict[str, Any]:
    """Run all steps of the hour in this process."""
    settings = load_settings()
    if not proving:
        return _steps(settings, PeerTrainer(settings.data_dir / "peer", settings.lineage))
    with Trainer(settings) as real:
        real.ready()
        return _steps(settings, Proving(settings, real))


def _steps(settings: Settings, trainer: PeerTrainer) -> dict[str, Any]:
    before, found = _peak(), []
    while True:
        began, cpu = time.perf_counter(), time.process_time()
        outcome = train_window(settings, trainer, window=None, actor="bench")
        if outcome.action != "committed":
            break
        took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        found.append(_step(settings) | took)
    return {"steps": found, "before": before, "peak": _peak(), "end": outcome.reason}


def _step(settings: Settings) -> dict[str, Any]:
    with psycopg.connect(settings.dsn) as connection:
        row = connection.execute(
            "SELECT detail FROM training.events WHERE kind = 'grouped' ORDER BY id DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    return dict(row[0])


def accounts(url: str) -> tuple[Counter[str], int]:
    """Count what became of each trajectory, and those counted nowhere or twice."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT t.\"trajectoryId\", c.use, (SELECT string_agg(r.reason, '+') "
            'FROM training.rejections r WHERE r.trajectory_id = t."trajectoryId") '
            "FROM trajectories t LEFT JOIN training.consumption c "
            'ON c.trajectory_id = t."trajectoryId"'
        ).fetchall()
    lost = sum((use is None) == (reason is None) for _, use, reason in rows)
    return Counter(use or f"refused: {reason}" for _, use, reason in rows), lost


def _peak() -> float:
    """Return this process's peak resident memory, in MB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) / 1024


def _in_a_child(stage: str, url: str, folder: Path, *more: str) -> dict[str, Any]:
    environment = os.environ | {
        "DATABASE_URL": url,
        "BABYLON_DATA_DIR": str(folder / "models"),
        "BABYLON_LOOKBACK_HOURS": EVER,
        "BABYLON_GRACE_SECONDS": "0",
        "BABYLON_LOG_LEVEL": "ERROR",
        "BABYLON_INFERENCE_PORT": "0",
        "BABYLON_BACKEND": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.plan", "--stage", stage, *more],
        env=environment,
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class Hour(NamedTuple):
    """One hour: what scoring it and its steps took, and what became of each trajectory."""

    agents: int
    scored: dict[str, Any]
    taken: dict[str, Any]
    counts: Counter[str]
    lost: int

    def of_steps(self, name: str) -> list[float]:
        """Return a figure of each step."""
        return [step[name] for step in self.taken["steps"]]


def played(agents: int, scenarios: int, *more: str) -> Hour:
    """Fill an hour, score it and take its steps, each in a process of its own."""
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "pg") as postgres:
        folder = Path(name)
        fill(postgres.url, agents, scenarios)
        scored = _in_a_child("score", postgres.url, folder)
        taken = _in_a_child("steps", postgres.url, folder, *more)
        return Hour(agents, scored, taken, *accounts(postgres.url))


def show(hour: Hour) -> None:
    """Print one hour."""
    scored, taken = hour.scored, hour.taken
    print(
        f"scored {scored['scored']} in {scored['seconds']:.1f} s, peak {scored['peak']:.0f} MB\n"
        "step  groups  members  tokens  left over  seconds  CPU"
    )
    for number, step in enumerate(taken["steps"], start=1):
        print(
            f"{number:4}  {step['groups']:6}  {step['trajectories']:7}  {step['tokens']:6}  "
            f"{step['left_over']:9}  {step['seconds']:7.2f}  {step['cpu']:4.2f}"
        )
    print(
        f"{len(taken['steps'])} steps until nothing is left ({taken['end']}); resident memory "
        f"{taken['before']:.0f} MB before, {taken['peak']:.0f} MB at most"
    )
    for what, count in hour.counts.most_common():
        print(f"{count:6}  {what}")
    print(f"{hour.lost:6}  in no account, or in two", flush=True)


def main() -> None:
    """Play each hour, print the largest and how the costs grow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[500, 1000, 2000])
    parser.add_argument("--scenarios", type=int, default=0, help="deal the agents to so many")
    parser.add_argument("--inspect", action="store_true", help="with the real tokenizer")
    parser.add_argument("--stage", choices=("score", "steps"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        found = score() if arguments.stage == "score" else steps(proving=arguments.inspect)
        print(json.dumps(found))
        return
    agents = sorted(set(arguments.agents))
    more = ("--inspect",) if arguments.inspect else ()
    hours = [played(one, arguments.scenarios, *more) for one in agents]
    show(hours[-1])
    if len(hours) < SIZES:
        return
    print("the worker, by agents of the hour:")
    for what, unit, costs in (
        ("scoring, CPU", " s", [one.scored["cpu"] for one in hours]),
        ("all steps, CPU", " s", [sum(one.of_steps("cpu")) for one in hours]),
        ("a step, CPU", " s", [fmean(one.of_steps("cpu")) for one in hours]),
        ("first step, wall clock", " s", [one.of_steps("seconds")[0] for one in hours]),
        ("peak memory", " MB", [one.taken["peak"] for one in hours]),
    ):
        print(curve(what, agents, costs, unit))


if __name__ == "__main__":
    main()
