"""Rows of Babylon's tables as its recorders write them: small parts that compose.

    rows = [trajectory(WINDOW, f"agent-{n}", [step(0, [exact_call("YES")])]) for n in range(4)]
    insert_trajectories(connection, rows)

Every function takes the interesting values and fills in the rest; ids are counted, so that a
failing test fails the same way again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

from psycopg import sql

from babylon_tasks.db.session import Connection
from babylon_tasks.windows import window_start

WINDOW = "2026-01-31T09:00"
EVER = "1000000"  # hours, a century: BABYLON_LOOKBACK_HOURS that keep WINDOW in sight for ever
MODEL = "SmolLM2-135M-Instruct"
SYSTEM = "You trade on prediction markets. Answer YES or NO."
# What they are in the small model's vocabulary, with the end of the turn.
IDS = {"YES": (73, 2097, 2), "NO": (13465, 2)}
# About what the tests' small random model gives any token: importance ratios begin near 1.
AS_BASE = -math.log(49152)
USER = "ACME is down 4% and falling. YES costs 0.47. Will ACME close higher? Answer YES or NO."

Row = dict[str, Any]
_ids = count(1)


def next_id(kind: str = "id") -> str:
    """An id never given before in this run."""
    return f"{kind}-{next(_ids):08d}"


# --- inside stepsJson, shape A: Babylon's own recorder


def llm_call(response: str = "YES", **keys: Any) -> Row:
    """An LLM call without logprobs, as the first system records it; ``keys`` replace or add."""
    return {
        "model": MODEL,
        "systemPrompt": SYSTEM,
        "userPrompt": USER,
        "response": response,
        "temperature": 1.0,
        "maxTokens": 16,
        "latencyMs": 287.4,
        "purpose": "action",
        **keys,
    }


def exact_call(
    response: str = "YES",
    *,
    logprobs: Sequence[float] | None = None,
    token_ids: Sequence[int] | None = None,
    policy_step: int = 0,
    **keys: Any,
) -> Row:
    """An LLM call with the logprobs, token ids and checkpoint that this project's recorder adds."""
    ids = IDS[response] if token_ids is None else token_ids
    return llm_call(
        response,
        **{
            "logprobs": [AS_BASE] * len(ids) if logprobs is None else list(logprobs),
            "tokenIds": list(ids),
            "policyStep": policy_step,
            **keys,
        },
    )


def action(
    kind: str = "BUY_SHARES",
    *,
    success: bool = True,
    market: str | None = "m-1",
    ticker: str | None = None,
    side: str = "YES",
    correct: bool | None = None,
    **keys: Any,
) -> Row:
    """What an agent did; ``correct`` is recorded only where it is known."""
    parameters = {"side": side, "amount": 40}
    if market is not None:
        parameters["marketId"] = market
    if ticker is not None:
        parameters["ticker"] = ticker
    done: Row = {"actionType": kind, "parameters": parameters, "success": success}
    if correct is not None:
        done["correctness"] = {"predictionCorrect": correct}
    return {**done, **keys}


def step(
    number: int = 0,
    calls: Iterable[Row] | None = None,
    *,
    pnl: float = 0.0,
    window: str = WINDOW,
    **keys: Any,
) -> Row:
    """A step; ``pnl`` is the agent's life-long profit before the action; one exact call."""
    return {
        "stepNumber": number,
        "timestamp": _milliseconds(window, number),
        "environmentState": {
            "agentBalance": 1000.0 + pnl,
            "agentPnL": pnl,
            "openPositions": 1,
            "activeMarkets": 22,
        },
        "providerAccesses": [],
        "llmCalls": [exact_call()] if calls is None else list(calls),
        "action": action(),
        "reward": 0.1,
        **keys,
    }


# --- inside stepsJson, shape B: Babylon's plugin


def plugin_call(response: str = "YES", **keys: Any) -> Row:
    """An LLM call with ``messages`` beside both prompts, an id and a time."""
    return exact_call(
        response,
        **{
            "callId": next_id("call"),
            "timestamp": _milliseconds(WINDOW, 0),
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": USER},
            ],
            "purpose": "other",
            "promptTokens": 40,
            "completionTokens": 2,
            **keys,
        },
    )


def plugin_step(
    number: int = 0,
    calls: Iterable[Row] | None = None,
    *,
    pnl: float = 0.0,
    window: str = WINDOW,
    **keys: Any,
) -> Row:
    """A step as the plugin writes it: more keys, other provider and action fields."""
    at = _milliseconds(window, number)
    shared = step(number, [plugin_call()] if calls is None else calls, pnl=pnl, window=window)
    return {
        **shared,
        "stepId": next_id("step"),
        "environmentState": {**shared["environmentState"], "timestamp": at, "agentPoints": 12},
        "providerAccesses": [{"providerId": "p-1", "providerName": "BABYLON_MARKETS", "data": {}}],
        "observation": {},
        "action": {**shared["action"], "attemptId": next_id("attempt"), "actionName": "BUY"},
        "done": False,
        **keys,
    }


# --- rows


def trajectory(
    window: str | None = WINDOW,
    agent: str = "agent-1",
    steps: Sequence[Row] | None = None,
    *,
    steps_json: str | None = None,
    scenario: str | None = None,
    final_pnl: float | None = 10.0,
    **columns: Any,
) -> Row:
    """A row of ``trajectories``: two steps by default; ``steps_json`` is stored as it is."""
    if steps is None:
        at = window or WINDOW
        steps = [step(0, window=at), step(1, pnl=5.0, window=at)]
    starts = window_start(window or WINDOW).replace(tzinfo=None) + timedelta(minutes=1)
    key = next_id("trajectory")
    metrics = {"episodeLength": len(steps), "finalStatus": "completed", "errorCount": 0}
    return {
        "id": key,
        "trajectoryId": key,
        "agentId": agent,
        "startTime": starts,
        "endTime": starts + timedelta(seconds=30),
        "durationMs": 30_000,
        "windowId": window,
        "scenarioId": scenario or window,
        "stepsJson": json.dumps(steps) if steps_json is None else steps_json,
        "rewardComponentsJson": json.dumps({"environmentReward": 0.2}),
        "metricsJson": json.dumps(metrics),
        "metadataJson": json.dumps({"isTrainingData": True, "gameKnowledge": {}}),
        "totalReward": 0.2,
        "episodeLength": len(steps),
        "finalStatus": "completed",
        "finalPnL": final_pnl,
        "createdAt": starts,
        "updatedAt": starts,
        **columns,
    }


def market_outcome(
    market: str = "m-1", outcome: str = "YES", window: str = WINDOW, **columns: Any
) -> Row:
    """A row of ``market_outcomes`` about a prediction market."""
    return {
        "id": next_id("outcome"),
        "windowId": window,
        "predictionMarketId": market,
        "question": f"Will {market} end as YES?",
        "outcome": outcome,
        "finalProbability": 0.99 if outcome == "YES" else 0.01,
        **columns,
    }


def stock_outcome(
    ticker: str = "ACME", change: float = 2.5, window: str = WINDOW, **columns: Any
) -> Row:
    """A row of ``market_outcomes`` about a stock; ``change`` is in percent."""
    return {
        "id": next_id("outcome"),
        "windowId": window,
        "stockTicker": ticker,
        "startPrice": 100,
        "endPrice": 100 + change,
        "changePercent": change,
        "sentiment": "BULLISH" if change > 0 else "BEARISH",
        **columns,
    }


def insert(connection: Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows of any table, each by its own columns, in one transaction.

    On 7a46248b an agent is a user by foreign key, so the agents of trajectories are made users.
    """
    rows = list(rows)
    with connection.transaction(), connection.cursor() as cursor:
        if table == "trajectories" and _agents_are_users(connection):
            insert_users(connection, [row["agentId"] for row in rows])
        for row in rows:
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(*table.split(".")),
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join(map(sql.Placeholder, row)),
            )
            cursor.execute(statement, row)


def rewrite(
    connection: Connection, table: str, statement: str, parameters: Sequence[object] = ()
) -> None:
    """Change rows that are only added, which nothing but a test does."""
    trigger = f"ALTER TABLE training.{table} {{}} TRIGGER only_added"
    with connection.transaction():
        connection.execute(trigger.format("DISABLE"))  # type: ignore[arg-type]
        connection.execute(statement, parameters)  # type: ignore[arg-type]
        connection.execute(trigger.format("ENABLE"))  # type: ignore[arg-type]


def insert_users(connection: Connection, ids: Sequence[str]) -> None:
    """Make some ids users of Babylon's, whatever else its contract asks of a user."""
    connection.execute(
        """
        INSERT INTO "User" SELECT made.* FROM unnest(%s::text[]) AS wanted (id),
        jsonb_populate_record(NULL::"User", jsonb_build_object(
            'id', wanted.id, 'isAgent', true, 'createdAt', now(), 'updatedAt', now())) AS made
        ON CONFLICT DO NOTHING""",
        [list(ids)],
    )


def _agents_are_users(connection: Connection) -> bool:
    found = connection.execute(
        "SELECT FROM pg_constraint WHERE conname = 'trajectories_agentId_fkey'"
    )
    return bool(found.rowcount)


def insert_trajectories(connection: Connection, rows: Sequence[Row]) -> list[str]:
    """Insert rows made by ``trajectory`` and return their trajectory ids."""
    insert(connection, "trajectories", rows)
    return [row["trajectoryId"] for row in rows]


def insert_outcomes(connection: Connection, rows: Sequence[Row]) -> None:
    """Insert rows made by ``market_outcome`` and ``stock_outcome``."""
    insert(connection, "market_outcomes", rows)


def fill_window(
    connection: Connection,
    window: str = WINDOW,
    *,
    agents: int = 4,
    spread: float = 200.0,
    policy_step: int = 0,
) -> list[str]:
    """A trainable window: one trajectory per agent, profits evenly spread; returns the ids."""
    rows = []
    for number in range(agents):
        profit = spread * (number / max(agents - 1, 1) - 0.5)
        answer = "YES" if profit > 0 else "NO"
        steps = [
            step(0, [exact_call(answer, policy_step=policy_step)], window=window),
            step(1, [exact_call(answer, policy_step=policy_step)], pnl=profit / 2, window=window),
        ]
        rows.append(trajectory(window, f"agent-{number + 1}", steps, final_pnl=profit))
    return insert_trajectories(connection, rows)


def _milliseconds(window: str, number: int) -> int:
    return int(window_start(window).timestamp() * 1000) + 60_000 + number * 1000
