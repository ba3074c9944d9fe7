"""A Babylon database as its operator has it: Babylon's own tables, and hours that were played.

Babylon keeps two contracts: Prisma's of 7a46248b, and Drizzle's of today.
"""

from __future__ import annotations

from pathlib import Path

from factories import (
    action,
    exact_call,
    insert,
    insert_users,
    llm_call,
    market_outcome,
    step,
    trajectory,
)

from babylon_tasks.db.session import Connection

CONTRACTS = ("7a46248b", "today")
_SCHEMAS = Path(__file__).parent / "contracts"
_AGENTS = 100


def make_tables(connection: Connection, contract: str) -> None:
    """The tables of a contract, and users ``agent-0`` to ``agent-99``."""
    text = (_SCHEMAS / f"{contract}.sql").read_text("utf-8")
    connection.execute(text)  # type: ignore[arg-type]  # a file of ours
    insert_users(connection, [f"agent-{n}" for n in range(_AGENTS)])


def played(connection: Connection, model: str) -> None:
    """Ten hours of four agents on two markets each, and all that is wrong with a real database."""
    for hour in range(10):
        window = f"2026-01-28T{hour:02d}:00"
        called = {"model": "another-house/large-model"} if hour == 8 else {"model": model}
        for market in ("m-1", "m-2"):
            for agent in range(4):
                answer = "YES" if agent % 2 else "NO"
                question = f"{window} {market}: will it rise, agent-{agent}?"
                asked = {**called, "userPrompt": question}
                call = llm_call(answer, **asked) if hour == 7 else exact_call(answer, **asked)
                traded = action(market=market, side=answer)
                steps = [step(0, [call], window=window, action=traded)]
                profit = 100.0 * (agent - 1.5)
                row = trajectory(window, f"agent-{agent}", steps, scenario=market, final_pnl=profit)
                insert(connection, "trajectories", [row])
        outcomes = [market_outcome(market, "YES", window) for market in ("m-1", "m-2")]
        insert(connection, "market_outcomes", outcomes)
    broken = trajectory("2026-01-28T06:00", "agent-4", steps_json="[{")
    insert(connection, "trajectories", [broken])
    theirs = {"id": "theirs", "modelId": "theirs", "version": "v9", "baseModel": "large-model"}
    model_row = {**theirs, "storagePath": "s"} | dict.fromkeys(
        ("createdAt", "updatedAt"), "2026-01-01"
    )
    insert(connection, "trained_models", [model_row])
