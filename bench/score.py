"""Measure how fast a window is scored: ``python -m bench.score --trajectories 20000``.

From one run on the same rows of one embedded Postgres, each reader in a process of its own:
``score_window`` end to end; a plain sequential reader of the first system's kind; a raw binary
read. Prints trajectories per second, peak resident memory, and the ratios. Another process
measures the import of ``babylon_tasks.tasks.app``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import psycopg
from pydantic import SecretStr

from babylon_tasks.db.babylon import create
from babylon_tasks.db.migrate import apply
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings, load_settings

WINDOW = "2026-01-05T10:00"
AGENTS = 50
MARKETS = 20
ROOT = Path(__file__).resolve().parent.parent
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def steps_json(random_: random.Random) -> str:
    """Make three complete steps of about 1.3 kB each (data contract, 4.2)."""

    def words(characters: int) -> str:
        made: list[str] = []
        length = 0
        while length < characters:
            made.append("".join(random_.choices(_LETTERS, k=random_.randint(2, 9))))
            length += len(made[-1]) + 1
        return " ".join(made)[:characters]

    pnl = random_.uniform(-200, 200)
    steps = []
    for number in range(3):
        market = f"m-{random_.randrange(MARKETS)}"
        side = random_.choice(["YES", "NO"])
        response = json.dumps({"action": "trade", "market": market, "reasoning": words(60)})
        steps.append(
            {
                "stepNumber": number,
                "timestamp": 1_767_607_200_000 + number * 4000,
                "environmentState": {
                    "agentBalance": round(random_.uniform(900, 1100), 2),
                    "agentPnL": round(pnl, 2),
                    "openPositions": random_.randrange(5),
                    "activeMarkets": 22,
                },
                "providerAccesses": [
                    {
                        "providerName": "BABYLON_MARKETS",
                        "data": {
                            "markets": [
                                {
                                    "id": market,
                                    "question": words(40),
                                    "yesShares": 410.2,
                                    "noShares": 590.8,
                                    "liquidity": 1000,
                                }
                            ]
                        },
                        "purpose": "prices before deciding",
                    }
                ],
                "llmCalls": [
                    {
                        "model": "qwen/qwen3-32b",
                        "modelVersion": "v1.0.3",
                        "systemPrompt": words(162),
                        "userPrompt": words(95),
                        "response": response,
                        "reasoning": words(40),
                        "temperature": 0.7,
                        "maxTokens": 300,
                        "latencyMs": 287.4,
                        "purpose": "action",
                        "actionType": "BUY_SHARES",
                    }
                ],
                "action": {
                    "actionType": "BUY_SHARES",
                    "parameters": {"marketId": market, "side": side, "amount": 40},
                    "success": True,
                    "result": {"shares": 66.9, "avgPrice": 0.598},
                    "reasoning": words(40),
                },
                "reward": round(random_.uniform(-0.5, 0.5), 2),
            }
        )
        pnl += random_.uniform(-50, 50)
    return json.dumps(steps, separators=(",", ":"))


def _rows(count: int) -> Iterator[tuple[object, ...]]:
    random_ = random.Random(7)
    for number in range(count):
        name = f"trajectory-{number:07d}"
        yield (
            name, name, f"agent-{number % AGENTS}", "2026-01-05 10:00:01", "2026-01-05 10:00:13",
            12000, WINDOW, WINDOW, steps_json(random_), "{}", "{}", "{}", 0.4, 3, "completed",
            round(random_.uniform(-300, 300), 2), "2026-01-05 10:00:13",
        )  # fmt: skip


def fill(url: str, count: int) -> float:
    """Migrate, insert the rows and a sealed window; returns the mean bytes of stepsJson."""
    settings = Settings(database_url=SecretStr(url))
    create(settings)
    apply(settings)
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.cursor() as cursor:
            with cursor.copy(
                'COPY trajectories (id, "trajectoryId", "agentId", "startTime", "endTime", '
                '"durationMs", "windowId", "scenarioId", "stepsJson", "rewardComponentsJson", '
                '"metricsJson", "metadataJson", "totalReward", "episodeLength", "finalStatus", '
                '"finalPnL", "updatedAt") FROM STDIN'
            ) as copy:
                for row in _rows(count):
                    copy.write_row(row)
            for market in range(MARKETS):
                cursor.execute(
                    'INSERT INTO market_outcomes (id, "windowId", "predictionMarketId", outcome) '
                    "VALUES (%s, %s, %s, %s)",
                    (
                        f"o-{market}",
                        WINDOW,
                        f"m-{market}",
                        random.Random(market).choice(["YES", "NO"]),
                    ),
                )
        connection.execute(
            "INSERT INTO training.windows (window_id, starts_at, held_out, state, trajectories) "
            "VALUES (%s, '2026-01-05 10:00+00', false, 'sealed', %s)",
            (WINDOW, count),
        )
        connection.execute("VACUUM (ANALYZE) trajectories")
        row = connection.execute(
            'SELECT avg(octet_length("stepsJson")) FROM trajectories'
        ).fetchone()
        assert row is not None
        return float(row[0])


def ours() -> int:
    """Score with the product, end to end."""
    scoring = score_window(load_settings(), WINDOW, actor="bench")
    assert scoring.state == "scored", scoring
    return scoring.scored


def plain(*, writing: bool) -> int:
    """Score like the first system: fetch everything, ``json.loads``, write row by row."""
    rewards: list[tuple[float, str]] = []
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        rows = connection.execute(
            'SELECT * FROM trajectories WHERE "windowId" = %s ORDER BY "agentId", "startTime"',
            (WINDOW,),
        )
        names = [column.name for column in rows.description or ()]
        outcomes = dict(
            connection.execute(
                'SELECT "predictionMarketId", outcome FROM market_outcomes WHERE "windowId" = %s',
                (WINDOW,),
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
        if writing:
            for reward in rewards:
                connection.execute(
                    'UPDATE trajectories SET "aiJudgeReward" = %s WHERE "trajectoryId" = %s', reward
                )
            connection.rollback()  # the next reader finds the same rows
    return len(rewards)


def raw() -> int:
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
            (WINDOW,),
        )
        while rows := cursor.fetchmany(500):
            count += len(rows)
    return count


# score_window last: it leaves the window scored.
READERS = {
    "plain": lambda: plain(writing=False),
    "plain, writing row by row": lambda: plain(writing=True),
    "raw": raw,
    "score_window": ours,
}


def _measure(reader: str, url: str) -> dict[str, float]:
    """Run one reader in a child process, as a worker would be: with the Celery app imported."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.score", "--reader", reader],
        env=os.environ | {"DATABASE_URL": url, "BABYLON_LOG_LEVEL": "ERROR"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _read(reader: str) -> None:
    if find_spec("babylon_tasks.tasks.app") is not None:
        import_module("babylon_tasks.tasks.app")
    began, cpu = time.perf_counter(), time.process_time()
    count = READERS[reader]()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"rows": count, "seconds": seconds, "cpu": cpu, "peak_mb": peak / 1024}))


def _import_seconds() -> float:
    script = (
        "import time; began = time.perf_counter(); import babylon_tasks.tasks.app; "
        "print(time.perf_counter() - began)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
        for _ in range(3)
    ]
    return min(float(run.stdout) for run in runs)


def main() -> None:
    """Set up, measure each reader, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectories", type=int, default=20_000)
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        _read(arguments.reader)
        return
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
        size = fill(postgres.url, arguments.trajectories)
        print(f"{arguments.trajectories} trajectories of 3 steps, {size:.0f} bytes of steps each")
        _measure("raw", postgres.url)  # warms the server's cache for all readers
        results = {
            reader: _measure(reader, postgres.url) for reader in READERS if reader != "score_window"
        }
        results["score_window"] = _measure("score_window", postgres.url)
    rate = {reader: found["rows"] / found["seconds"] for reader, found in results.items()}
    for reader, found in results.items():
        print(
            f"{reader:28} {rate[reader]:9.0f} trajectories/s  {found['seconds']:6.2f} s, of which "
            f"{found['cpu']:6.2f} s on its CPU  peak {found['peak_mb']:6.1f} MB resident"
        )
    for reader in results:
        if reader != "score_window":
            print(f"score_window / {reader:28} {rate['score_window'] / rate[reader]:5.2f}")
    if find_spec("babylon_tasks.tasks.app") is None:
        print("babylon_tasks.tasks.app does not exist: its import is not in these figures")
    else:
        print(f"import babylon_tasks.tasks.app  {_import_seconds():.3f} s")


if __name__ == "__main__":
    main()
