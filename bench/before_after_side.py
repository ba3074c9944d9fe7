"""One side of ``bench.before_after``: only what both checkouts have is imported and called.

Run as a script: then ``babylon_tasks`` comes from PYTHONPATH. Each line that it gets is an order;
it answers each with the CPU seconds that it took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from importlib.util import find_spec

from babylon_tasks.db.migrate import apply
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.recorder import Recorder
from babylon_tasks.settings import load_settings

HOUR = "2026-01-31T09:00"


def create() -> None:
    """Create Babylon's tables, which 0.1.0's first migration did, and ours."""
    settings = load_settings()
    if find_spec("babylon_tasks.db.babylon") is not None:
        import_module("babylon_tasks.db.babylon").create(settings)
    apply(settings)
    import_module("babylon_tasks.tasks.app")  # as in a worker, which has it in memory


def score(windows: list[str]) -> None:
    """Score these windows, one after the other, as one worker does."""
    settings = load_settings()
    for window in windows:
        scoring = score_window(settings, window, actor="bench")
        assert scoring.scored, scoring


def record(count: int) -> None:
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


def main() -> None:
    """Follow the orders of standard input, until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what either logs
    for line in sys.stdin:
        order = json.loads(line)
        began = time.process_time()
        match order["do"]:
            case "create":
                create()
            case "score":
                score(order["windows"])
            case "record":
                record(order["count"])
        print(time.process_time() - began, file=answers, flush=True)


if __name__ == "__main__":
    main()
