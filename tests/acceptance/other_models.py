"""Rows of agents whose answers are another model's: of use to a warm start, and not to GRPO."""

from __future__ import annotations

from acceptance.harness import Babylon
from factories import insert_trajectories, llm_call, step, trajectory


def of_another_model(babylon: Babylon, window: str) -> None:
    """Eight agents on each of some markets, whose answers are another model's."""
    rows = []
    for market in range(4):
        for agent in range(8):
            call = llm_call("YES" if agent > 4 else "NO", model="gpt-4.1")
            call["userPrompt"] = f"Market {market} of {window}: will it rise?"
            steps = [step(0, [call], window=window)]
            scenario, profit = f"m-{market}", float(agent)
            rows.append(
                trajectory(window, f"a-{agent}", steps, scenario=scenario, final_pnl=profit)
            )
    insert_trajectories(babylon.connection, rows)
