"""A process of ``bench.before_after``: only what both checkouts have is imported and called.

Run as a script: then ``babylon_tasks`` and the tests' parts come from PYTHONPATH. Each line that it
gets is an order; it answers each with its CPU seconds and its peak of resident memory.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from babylon_tasks import log
from babylon_tasks.db.migrate import apply
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.recorder import Recorder
from babylon_tasks.settings import load_settings

HOUR = "2026-01-31T09:00"
ARTS = "time/step_trainer_s"  # what ART itself says that its train() took


class Timed:
    """A trainer; ``cpu``: seconds that its process used, but for its share inside ART's train()."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self.cpu = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._trainer, name)
        if not callable(found):
            return found

        def asked(*args: Any, **named: Any) -> Any:
            began, cpu = time.perf_counter(), self._used()
            answer = found(*args, **named)
            cpu, seconds = self._used() - cpu, time.perf_counter() - began
            arts = answer.metrics[ARTS] if name == "train" else 0.0
            self.cpu += cpu * max(0.0, 1 - arts / seconds)
            return answer

        return asked

    def _used(self) -> float:
        pid = self._trainer.pid
        return sum(psutil.Process(pid).cpu_times()[:2]) if pid else 0.0


class Doer:
    """Does what it is told, for one database."""

    def __init__(self) -> None:
        self.settings = load_settings()
        log.configure(self.settings)
        self._trainer: Any = None

    def create(self) -> None:
        """Create Babylon's tables, which 0.1.0's first migration did, and ours."""
        if find_spec("babylon_tasks.db.babylon") is not None:
            import_module("babylon_tasks.db.babylon").create(self.settings)
        apply(self.settings)

    def load(self) -> None:
        """Import what a worker has in memory."""
        import_module("babylon_tasks.tasks.app")

    def seal(self) -> None:
        """Open and seal all hours, call after call."""
        while discover(self.settings, actor="bench", since=datetime(2020, 1, 1, tzinfo=UTC)).sealed:
            pass

    def score(self, windows: list[str]) -> None:
        """Score these windows, one after the other, as one worker does."""
        for window in windows:
            scoring = score_window(self.settings, window, actor="bench")
            assert scoring.scored, scoring

    def rest(self) -> None:
        """Close the connections that are kept: sessions tell what they read when they end."""
        if find_spec("babylon_tasks.db.kept_connections") is not None:
            import_module("babylon_tasks.db.kept_connections").kept.close()

    def start(self, trainer: str) -> None:
        """Start the tests' trainer, which only reads and writes files, or the real one."""
        if trainer == "peer":
            folder = self.settings.data_dir / "peer"
            self._trainer = import_module("peer").PeerTrainer(folder, self.settings.lineage)
        else:
            supervisor = import_module("babylon_tasks.training.supervisor")
            self._trainer = Timed(supervisor.Trainer(self.settings))
        self._trainer.ready()

    def train(self, window: str) -> float:
        """Train on a window in one step; returns the trainer's CPU outside ART's train()."""
        before = getattr(self._trainer, "cpu", 0.0)
        outcome = train_window(self.settings, self._trainer, window=window, actor="bench")
        assert outcome.action == "committed", outcome
        return float(getattr(self._trainer, "cpu", 0.0) - before)

    def end(self) -> None:
        """End the trainer."""
        self._trainer.close()

    def record(self, count: int) -> None:
        """Record so many trajectories of three steps."""
        with Recorder(os.environ["DATABASE_URL"], capacity=count) as recorder:
            for number in range(count):
                trajectory = recorder.start(f"agent-{number % 50}", window=HOUR)
                for place in range(3):
                    step = trajectory.step(balance=1000.0, pnl=float(place))
                    step.llm_call(
                        messages=[{"role": "user", "content": "Will ACME close higher? " * 20}],
                        response='{"action": "buy_yes", "market": "m-1", "amount": 40}',
                        model="babylon@3",
                        temperature=1.0,
                        max_tokens=300,
                    )
                    step.action("BUY_SHARES", {"marketId": "m-1", "side": "YES"}, success=True)
                trajectory.finish()
            assert recorder.flush(600)
        assert recorder.recorded == count, (recorder.recorded, recorder.dropped, recorder.failed)


def peak() -> float:
    """Return this process's peak of resident memory, in MB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) / 1024


def main() -> None:
    """Follow the orders of standard input, until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what either logs
    doer = Doer()
    for line in sys.stdin:
        what, given = json.loads(line)
        began = time.process_time()
        more = getattr(doer, what)(**given) or 0.0
        took = time.process_time() - began
        print(json.dumps([took + more, peak()]), file=answers, flush=True)


if __name__ == "__main__":
    main()
