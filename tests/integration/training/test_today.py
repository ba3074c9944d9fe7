"""A Babylon of today, from its rows to a promoted checkpoint, on both of its contracts.

The rows are Babylon's own kind (tests/contracts/today_rows.sql): no log-probabilities, prices
that are none, failures, several calls for one decision. What is trained on are answers of ours,
sampled from the trainer and recorded beside them. The model is the one that the rows name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import correlation
from typing import Any

import pytest
import today
from openai import AsyncOpenAI

from babylon_tasks.db import migrate
from babylon_tasks.db.outcomes import settle
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.pipeline.data_report import verify_data
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.recorder import Recorder
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.supervisor import Trainer
from babylon_tasks.windows import is_held_out, window_start

LINEAGE = "today"
SYSTEM = "You trade on a prediction market. Answer YES or NO."
OURS = tuple(f"2026-11-25T{hour:02d}:00" for hour in range(8, 16))


@pytest.fixture
def settings(babylon_database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        DATABASE_URL=babylon_database_url,
        WANDB_API_KEY=None,
        data_dir=tmp_path / "data",
        lineage=LINEAGE,
        backend="cpu",
        inference_port=0,
        held_out_share=0.4,
        grace_seconds=0,
        outcome_wait_hours=0,
        min_eval_groups=1,
        min_eval_coverage=0,
        promote_tolerance=1.0,
    )


@pytest.fixture
def babylon(settings: Settings) -> Iterator[Connection]:
    """Babylon's own database, with its rows, before anybody has migrated it."""
    with connect(settings) as connection:
        today.load(connection)
        yield connection


def babylon_reads(connection: Connection) -> dict[str, Any]:
    """What Babylon's own code gets when it looks for its model, its queries written out."""
    serves = connection.execute(
        'SELECT coalesce(nullif("storagePath", \'\'), "modelId") FROM trained_models'
        " WHERE status IN ('ready', 'deployed') ORDER BY \"createdAt\" DESC LIMIT 1"
    ).fetchone()
    to_deploy = connection.execute(
        'SELECT coalesce(nullif("storagePath", \'\'), "modelId"), version FROM trained_models'
        " WHERE status = 'ready' ORDER BY \"createdAt\" DESC LIMIT 1"
    ).fetchone()
    assert serves is not None
    assert to_deploy is not None
    major, minor, patch = to_deploy[1].removeprefix("v").split(".")
    return {
        "serves": serves[0],
        "to_deploy": to_deploy[0],
        "next_version": f"v{major}.{minor}.{int(patch) + 1}",
    }


def read_as_decided(connection: Connection) -> int:
    """The serving step, after checking that Babylon reads exactly that checkpoint."""
    decided = serving.serving(connection, LINEAGE)
    assert babylon_reads(connection) == {
        "serves": decided.inference_name,
        "to_deploy": decided.inference_name,
        "next_version": f"v1.0.{decided.step + 1}",
    }
    return decided.step


def play(settings: Settings, connection: Connection, trainer: Trainer) -> None:
    """Eight hours of four agents on two markets, asking what serves and trading as it answers."""
    asked = [(hour, market, n) for hour in OURS for market in ("m-1", "m-2") for n in range(4)]
    answers = asyncio.run(answered(settings, trainer, [question(market) for _, market, _ in asked]))
    with Recorder(settings) as recorder:
        for (hour, market, agent), completion in zip(asked, answers, strict=True):
            if agent == 0:
                settle(connection, hour, f"{market}-{hour}", question="q", yes=market == "m-1")
            trade(recorder, hour, market, agent, completion)
        assert recorder.flush(30)
        assert not recorder.failed


def question(market: str) -> list[Any]:
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"Market {market} YES 41% NO 59%. Will it end as YES?"},
    ]


async def answered(settings: Settings, trainer: Trainer, asked: list[list[Any]]) -> list[Any]:
    key = settings.inference_api_key.get_secret_value()
    async with AsyncOpenAI(base_url=trainer.ready().base_url, api_key=key) as client:
        return await asyncio.gather(
            *(
                client.chat.completions.create(
                    model=f"{LINEAGE}@0", messages=messages, logprobs=True, max_tokens=4
                )
                for messages in asked
            )
        )


def trade(recorder: Recorder, hour: str, market: str, agent: int, completion: Any) -> None:
    recording = recorder.start(
        f"u-{agent + 1}",
        scenario_id=market,
        window=hour,
        now=window_start(hour) + timedelta(minutes=agent),
    )
    step = recording.step(balance=1000.0, pnl=0.0)
    step.llm_call(completion, messages=question(market), temperature=1.0, max_tokens=4)
    side = "buy_yes" if agent % 2 else "buy_no"
    traded = {"marketType": "prediction", "marketId": f"{market}-{hour}", "side": side}
    step.action("TRADE", {**traded, "amount": 25}, success=True)
    recording.finish(final_pnl=0.0)


def rewards_of_todays_rows(connection: Connection) -> list[tuple[float, float | None, int]]:
    """(reward, share of right trades or None, number of actions) of Babylon's own rows."""
    rows = connection.execute(
        "SELECT s.reward, (s.components ->> 'right')::float8, (s.components ->> 'wrong')::float8,"
        ' t."episodeLength" FROM training.scores s'
        ' JOIN trajectories t ON t."trajectoryId" = s.trajectory_id WHERE s.window_id = ANY (%s)',
        (list(today.HOURS),),
    ).fetchall()
    return [
        (reward, (right or 0) / ((right or 0) + (wrong or 0)) if right or wrong else None, actions)
        for reward, right, wrong, actions in rows
    ]


def test_a_database_of_today_is_verified_scored_trained_on_and_promoted_by_the_rule(
    settings: Settings, babylon: Connection, contract: str
) -> None:
    before = verify_data(settings)
    assert (len(before.windows), before.trajectories) == (3, 24)
    assert before.trainable == 0
    assert before.rejected == {"no_logprobs": 24}, "their words are understood, the rest is said"

    assert migrate.apply(settings)
    with Trainer(settings) as trainer:
        serve(settings, trainer)
        play(settings, babylon, trainer)
        found = discover(settings, actor="test", since=window_start(OURS[0]))
        assert sorted(found.sealed) == sorted([*OURS, *today.HOURS])
        for window in found.sealed:
            score_window(settings, window, actor="test")

        theirs = rewards_of_todays_rows(babylon)
        known = [(reward, share, actions) for reward, share, actions in theirs if share is not None]
        assert len(known) >= 15, contract
        assert correlation([r for r, _, _ in known], [s for _, s, _ in known]) >= 0.8
        assert abs(correlation([r for r, _, _ in theirs], [a for _, _, a in theirs])) <= 0.3

        decisions = []
        while (did := train_window(settings, trainer, window=None, actor="test")).action != "idle":
            if did.action == "committed":
                assert read_as_decided(babylon) == trainer_serves(babylon), "after a commit"
                decisions.append(evaluate(settings, trainer, actor="test").action)
                read_as_decided(babylon)
        assert "promoted" in decisions
        served = read_as_decided(babylon)
        assert served > 0
        serving.rollback(babylon, LINEAGE, reason="to see", actor="test", to=0)
        assert read_as_decided(babylon) == 0
        serving.promote(babylon, LINEAGE, served, reason="again", figures={}, actor="test")
        assert read_as_decided(babylon) == served
    refused = dict(
        babylon.execute(
            "SELECT reason, count(*) FROM training.rejections WHERE window_id = ANY (%s)"
            " GROUP BY reason",
            (list(today.HOURS),),
        ).fetchall()
    )
    assert set(refused) <= {"no_logprobs", "no_evidence"}, refused


def trainer_serves(connection: Connection) -> int:
    row = connection.execute(
        "SELECT serving_step FROM training.lineages WHERE name = %s", (LINEAGE,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_the_hours_of_ours_are_partly_held_out() -> None:
    """Otherwise the test above would promote without an evaluation, or train on nothing."""
    held = [hour for hour in OURS if is_held_out(hour, LINEAGE, 0.4)]
    assert 2 <= len(held) <= 6
