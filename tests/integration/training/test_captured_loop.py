"""Agents that know a base URL and a key, and record as Babylon does: the whole loop.

They ask one gateway, which runs throughout, before a real trainer, at temperature 0.7 as Babylon's
do; the gateway asks the checkpoint at 1. What they record has no ids, no log-probabilities and a
provider's name for a model; all of it is joined to what the gateway captured, a real step is
committed from it and promoted, and their next answers are the new checkpoint's. It is rolled back
while two of them are in the middle of a conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from by_hand import promote_head
from endpoint import until
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
from openai import AsyncOpenAI, OpenAI
from recorded import trainer_settings
from templates import CHATML

from babylon_tasks.dataset import manifest as manifests
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import decode
from babylon_tasks.gateway.process import Gateway
from babylon_tasks.pipeline.data_report import verify_data
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.join_calls import CallJoin, JoinMode, JoinResult
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.records import Trajectory
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.supervisor import Trainer
from babylon_tasks.windows import WINDOW as HOUR
from babylon_tasks.windows import window_id, window_start

pytestmark = pytest.mark.contract("today")

SYSTEM = "You trade on a prediction market."
SAYS = " the Yes No buy sell hold because of it"
AGENTS, DECISIONS = 6, 3
LATER = window_id(window_start(WINDOW) + HOUR)
TEMPERATURE = 0.7  # in Babylon's code


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
        gateway_temperature=1,
    )


def question(agent: int, decision: int) -> str:
    return f"Balance {1000 + agent}. Market m-{decision} YES 41%. Will it end as YES?"


@contextmanager
def opened(settings: Settings) -> Iterator[str]:
    """A gateway's address."""
    gateway = Gateway(settings)
    gateway.start()
    try:
        yield f"http://127.0.0.1:{gateway.port}/v1"
    finally:
        gateway.stop()


async def answers(base_url: str, key: str) -> list[list[str]]:
    """The text of each decision of each agent; nothing else of an answer is looked at."""
    async with AsyncOpenAI(base_url=base_url, api_key=key) as client:

        async def one(agent: int, decision: int) -> str:
            messages: list[Any] = [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": question(agent, decision)},
            ]
            made = await client.chat.completions.create(
                model="tests", messages=messages, temperature=TEMPERATURE, max_tokens=12
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
                        temperature=TEMPERATURE,
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


class Conversation:
    """An agent that asks on, with all that was said before.

    ``keeps``: from its first answer on it asks for the checkpoint that gave that.
    """

    def __init__(self, client: OpenAI, agent: str, *, keeps: bool) -> None:
        self.agent = agent
        self._client = client
        self._keeps = keeps
        self._model = "tests"
        self._said: list[Any] = [{"role": "system", "content": SYSTEM}]
        self._steps: list[dict[str, Any]] = []

    def turn(self, text: str) -> str:
        """Ask once; the checkpoint that answered."""
        asked = [*self._said, {"role": "user", "content": f"{self.agent}: {text}"}]
        made = self._client.chat.completions.create(
            model=self._model, messages=asked, temperature=TEMPERATURE, max_tokens=12
        )
        answer = made.choices[0].message.content or ""
        self._said = [*asked, {"role": "assistant", "content": answer}]
        call = llm_call(answer, model="huggingface", messages=asked)
        number = len(self._steps)
        self._steps.append(step(number, [call], action=action("TRADE", market="m-1")))
        if self._keeps:
            self._model = made.model
        return made.model

    def row(self) -> dict[str, Any]:
        """What Babylon's recorder writes of it."""
        return trajectory(LATER, self.agent, self._steps, scenario="talk")


def captured_in(connection: Connection, window: str, count: int) -> None:
    """Wait until so many new captures are in Postgres; move them to the hour of their rows.

    So no clock decides.
    """
    start = window_start(window)
    connection.execute("SELECT training.make_call_partitions(%s::date, %s::date)", (start, start))

    def there() -> bool:
        row = connection.execute(
            "SELECT count(*) FROM training.calls WHERE trajectory_id IS NULL"
        ).fetchone()
        return row == (count,)

    until(there)
    connection.execute(
        "UPDATE training.calls SET asked_at = %s, window_id = %s WHERE trajectory_id IS NULL",
        (start + timedelta(minutes=5), window),
    )


def learn(
    connection: Connection, settings: Settings, trainer: Trainer, said: Sequence[Sequence[str]]
) -> None:
    """Record, score and train the first hour: all of its calls are joined, and a step committed."""
    record(connection, said)
    captured_in(connection, WINDOW, AGENTS * DECISIONS)
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


def sampled_by(connection: Connection, settings: Settings) -> dict[str, list[int | None]]:
    """By the join: the steps of the checkpoints that gave each agent its answers, that hour."""
    rows = [raw for batch in stream_window(connection, LATER, settings) for raw in batch]
    read = [decode(raw) for raw in rows]
    decoded = [one for one in read if isinstance(one, Trajectory)]
    assert len(decoded) == len(rows)
    join = CallJoin(connection, LATER, JoinMode.CLAIM)
    found = [one.trajectory for one in join.join(decoded)]
    calls = [call for one in found for call in one.calls]
    assert join.results == {JoinResult.EXACT: len(calls)}
    assert all(call.token_ids and call.logprobs for call in calls)
    return {one.agent_id: [call.policy_step for call in one.calls] for one in found}


def test_what_they_did_is_learned_from_and_they_follow_what_is_learned(
    database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(database_url, tmp_path)
    key = settings.inference_api_key.get_secret_value()
    with connect(settings) as connection, Trainer(settings) as trainer:
        serve(settings, trainer)
        with (
            opened(settings) as base_url,
            OpenAI(base_url=base_url, api_key=key, max_retries=0) as client,
        ):

            def serves(name: str) -> bool:
                return client.models.list().data[0].to_dict()["serves"] == name

            assert serves("tests@0")
            learn(connection, settings, trainer, asyncio.run(answers(base_url, key)))
            assert promote_head(connection, "tests") == 1
            until(lambda: serves("tests@1"))

            follows = Conversation(client, "agent-10", keeps=False)
            keeps = Conversation(client, "agent-11", keeps=True)
            first = [one.turn("Will ACME close higher?") for one in (follows, keeps)]
            assert first == ["tests@1", "tests@1"]
            serving.rollback(connection, "tests", reason="it is worse", actor="test")
            until(lambda: serves("tests@0"))
            next_turn = [one.turn("And if it opens lower?") for one in (follows, keeps)]
            assert next_turn == ["tests@0", "tests@1"]
            insert_trajectories(connection, [follows.row(), keeps.row()])
            captured_in(connection, LATER, 4)
        assert sampled_by(connection, settings) == {"agent-10": [1, 0], "agent-11": [1, 1]}
