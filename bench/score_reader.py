"""One reader of a window in a process of its own; ``bench.score`` starts several and pairs them.

Run as a script: then ``babylon_tasks`` comes from PYTHONPATH, perhaps from another checkout. Each
line that it gets names a window; it answers each with what reading it took, as a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

import psycopg

from babylon_tasks import log
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.settings import load_settings


def score(window: str) -> int:
    """Score with the product, end to end."""
    scoring = score_window(load_settings(), window, actor="bench")
    assert scoring.state == "scored", scoring
    return scoring.scored


def plain(window: str) -> int:
    """Compute like the first system: fetch everything, ``json.loads``; writes nothing."""
    return len(_rewards(window))


def writing(window: str) -> int:
    """Compute like the first system, and write row by row, as it did."""
    rewards = _rewards(window)
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        for reward in rewards:
            connection.execute(
                'UPDATE trajectories SET "aiJudgeReward" = %s WHERE "trajectoryId" = %s', reward
            )
        connection.rollback()  # the next reader finds the same rows
    return len(rewards)


def _rewards(window: str) -> list[tuple[float, str]]:
    rewards: list[tuple[float, str]] = []
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        rows = connection.execute(
            'SELECT * FROM trajectories WHERE "windowId" = %s ORDER BY "agentId", "startTime"',
            (window,),
        )
        names = [column.name for column in rows.description or ()]
        outcomes = dict(
            connection.execute(
                'SELECT "predictionMarketId", outcome FROM market_outcomes WHERE "windowId" = %s',
                (window,),
            ).fetchall()
        )
        for row in [dict(zip(names, row, strict=True)) for row in rows.fetchall()]:
            steps = json.loads(row["stepsJson"])
            first = steps[0]["environmentState"]["agentPnL"]
            profit = (row["finalPnL"] or steps[-1]["environmentState"]["agentPnL"]) - first
            wins = losses = taken = 0
            for step in steps:
                action = step["action"]
                taken += bool(action["success"])
                ended = outcomes.get(action["parameters"].get("marketId"))
                if ended is not None:
                    wins += action["parameters"]["side"] == ended
                    losses += action["parameters"]["side"] != ended
            reward = (
                0.5 * min(1.0, max(0.0, (profit + 1000) / 2000))
                + 0.3 * (wins / (wins + losses) if wins + losses else 0.5)
                + 0.2 * min(1.0, taken / 20)
            )
            rewards.append((reward, row["trajectoryId"]))
    return rewards


def raw(window: str) -> int:
    """Read the rows through a binary server-side cursor, without decoding them."""
    count = 0
    with (
        psycopg.connect(os.environ["DATABASE_URL"]) as connection,
        connection.cursor(name="raw", binary=True) as cursor,
    ):
        cursor.execute(
            'SELECT "trajectoryId", "agentId", "scenarioId", "stepsJson", "finalPnL", '
            '"isEvaluation", "isTrainingData", "usedInTraining" '
            'FROM trajectories WHERE "windowId" = %s',
            (window,),
        )
        while rows := cursor.fetchmany(500):
            count += len(rows)
    return count


READERS = {"score": score, "plain": plain, "raw": raw, "writing": writing}


def main() -> None:
    """Read each window that standard input names, until it ends."""
    log.configure(load_settings())
    import_module("babylon_tasks.tasks.app")  # as in a worker, which has it in memory
    reader = READERS[sys.argv[1]]
    for line in sys.stdin:
        began = time.process_time()
        rows = reader(line.strip())
        took = time.process_time() - began
        status = Path("/proc/self/status").read_text()
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        print(json.dumps({"rows": rows, "cpu": took, "peak_mb": int(peak) / 1024}), flush=True)


if __name__ == "__main__":
    main()
