"""Agents that know a base URL and a key, and record as Babylon does, are learned from.

They ask the gateway before a real trainer. What they record has no ids, no log-probabilities and a
provider's name for a model; all of it is joined to what the gateway captured, and a real step is
committed from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from factories import (
    WINDOW,
    action,
    insert_outcomes,
    insert_trajectories,
    llm_call,
    market_outcome,
    step,
    trajectory,
)
from models import save_tiny_model
from openai import AsyncOpenAI
from recorded import trainer_settings
from templates import CHATML

from babylon_tasks.dataset import manifest as manifests
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.gateway.process import Gateway
from babylon_tasks.pipeline.data_report import verify_data
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings
from babylon_tasks.training.supervisor import Trainer
from babylon_tasks.windows import window_start

SYSTEM = "You trade on a prediction market."
SAYS = " the Yes No buy sell hold because of it"
AGENTS, DECISIONS = 6, 3


def settings_for(database_url: str, folder: Path) -> Settings:
    model = save_tiny_model(folder / "model", template=CHATML, says=SAYS)
    return trainer_settings(
        folder / "data",
        base_model=str(model),
        DATABASE_URL=database_url,
        packed_sequence_length=256,
        held_out_share=0.0,
        grace_seconds=0,
        outcome_wait_hours=0,
        gateway_port=0,
        gateway_spool_dir=folder / "calls",
    )


def question(agent: int, decision: int) -> str:
    return f"Balance {1000 + agent}. Market m-{decision} YES 41%. Will it end as YES?"


async def answers(gateway: Gateway, key: str) -> list[list[str]]:
    """The text of each decision of each agent; nothing else of an answer is looked at."""
    base_url = f"http://127.0.0.1:{gateway.port}/v1"
    async with AsyncOpenAI(base_url=base_url, api_key=key) as client:

        async def one(agent: int, decision: int) -> str:
            messages: list[Any] = [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": question(agent, decision)},
            ]
            made = await client.chat.completions.create(
                model="tests", messages=messages, temperature=1, max_tokens=12
            )
            return made.choices[0].message.content or ""

        return [
            list(await asyncio.gather(*(one(agent, decision) for decision in range(DECISIONS))))
            for agent in range(AGENTS)
        ]


def record(connection: Connection, said: Sequence[Sequence[str]]) -> None:
    """Write rows as Babylon's recorder does; half of the agents bet right."""
    rows = []
    for agent, texts in enumerate(said):
        steps = [
            step(
                decision,
                [
                    llm_call(
                        text,
                        model="huggingface",
                        systemPrompt=SYSTEM,
                        userPrompt=question(agent, decision),
                    )
                ],
                action=action("TRADE", market="m-1", side="YES" if agent % 2 else "NO"),
            )
            for decision, text in enumerate(texts)
        ]
        rows.append(trajectory(WINDOW, f"agent-{agent}", steps, scenario="m", final_pnl=0.0))
    insert_trajectories(connection, rows)
    insert_outcomes(connection, [market_outcome("m-1", "YES")])


def asked_in_that_hour(connection: Connection) -> None:
    """Move what was captured to the hour of the rows, so that no clock decides."""
    start = window_start(WINDOW)
    connection.execute("SELECT training.make_call_partitions(%s::date, %s::date)", (start, start))
    connection.execute(
        "UPDATE training.calls SET asked_at = %s, window_id = %s",
        (start + timedelta(minutes=5), WINDOW),
    )


def test_all_of_their_calls_are_joined_and_a_step_is_committed(
    database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(database_url, tmp_path)
    with connect(settings) as connection, Trainer(settings) as trainer:
        serve(settings, trainer)
        gateway = Gateway(settings)
        gateway.start()
        said = asyncio.run(answers(gateway, settings.inference_api_key.get_secret_value()))
        gateway.stop()  # writes what it has
        record(connection, said)
        asked_in_that_hour(connection)

        discover(settings, actor="test", since=window_start(WINDOW))
        report = verify_data(settings)
        assert report.captures == {"exact": AGENTS * DECISIONS}
        assert {(one.name, one.calls) for one in report.models} == {("tests@0", AGENTS * DECISIONS)}
        assert score_window(settings, WINDOW, actor="test").state == "scored"
        did = train_window(settings, trainer, window=WINDOW, actor="test")
        assert did.action == "committed", did

        joined = connection.execute(
            "SELECT count(*), count(trajectory_id), count(DISTINCT (trajectory_id, place))"
            " FROM training.calls"
        ).fetchone()
        assert joined == (AGENTS * DECISIONS,) * 3
        rejected = connection.execute("SELECT reason, detail FROM training.rejections").fetchall()
        assert rejected == []
        row = connection.execute("SELECT manifest FROM training.steps").fetchone()
        assert row is not None
        step_manifest = manifests.from_row(row[0])
        assert step_manifest.logprobs == "exact"
        assert len(step_manifest.entries) == AGENTS
        assert all(entry.calls is None for _, entry in step_manifest.entries)
