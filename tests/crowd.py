"""An hour of thousands of agents that were all asked the same, as Babylon's live hours are."""

from __future__ import annotations

import random

from factories import WINDOW, action, exact_call, insert_outcomes, market_outcome, step, trajectory
from psycopg import sql

from babylon_tasks.db.session import Connection

# About 150 tokens of any usual vocabulary.
QUESTION = (
    "It is 09:00. You hold 1000 and no positions. The market asks: will ACME close higher today? "
    "YES costs 0.47 and NO costs 0.53. Its price has moved by -1.2, +0.4, -0.9, +2.1 and -0.3 per "
    "cent over the last five hours, on a volume that is a third below the mean of the week. "
    "Headlines of the last hour: a supplier warns of delays; the founder says nothing; two banks "
    "keep their targets. Three friends of yours bet YES, one bet NO, and the rest is waiting. "
    "Think of what the others know that you do not. Then answer with one word, YES or NO, alone."
)


def crowd(
    connection: Connection, agents: int, *, seed: int = 7, strangers: int = 0, scenarios: int = 0
) -> list[str]:
    """One trajectory for each agent, in no scenario but the hour; the ids in order.

    Each bets on one market, a third of them rightly. The last ``strangers`` were answered by
    another model. With ``scenarios`` they are dealt to so many.
    """
    chance = random.Random(seed)
    rows = []
    for number in range(agents):
        right = chance.random() < 1 / 3
        side = "YES" if right else "NO"
        model = "babylon@0" if number < agents - strangers else "qwen/qwen3-32b"
        call = exact_call(side, model=model, userPrompt=QUESTION)
        profit = chance.gauss(20.0 if right else -20.0, 30.0)
        steps = [step(0, [call], action=action(market="m-1", side=side))]
        row = trajectory(WINDOW, f"agent-{number}", steps, final_pnl=profit)
        if scenarios:
            row["scenarioId"] = f"scenario-{number % scenarios}"
        rows.append(row)
    insert_outcomes(connection, [market_outcome("m-1", "YES")])
    columns = sql.SQL(", ").join(map(sql.Identifier, rows[0]))
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY trajectories ({}) FROM STDIN").format(columns)) as copy,
    ):
        for row in rows:
            copy.write_row(list(row.values()))
    return [row["trajectoryId"] for row in rows]
