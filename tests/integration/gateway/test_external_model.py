"""The external model of the likeness of Babylon, asked through the gateway as its agents do."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from endpoint import PATIENCE
from gateways import KEY, opened
from openai import AsyncOpenAI
from upstream import Upstream

from babylon_tasks.arms import Arm, Arms, draw
from babylon_tasks.db import arms, clock
from babylon_tasks.db.session import Connection
from babylon_tasks.sandbox.babylon_world import markets, play
from babylon_tasks.sandbox.babylon_world.external_model import NAME
from babylon_tasks.sandbox.babylon_world.external_server import ExternalServer
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_id

pytestmark = pytest.mark.contract(None)


async def played(url: str) -> list[play.Turn]:
    """One hour's turns; no question is asked twice."""
    client = AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE)
    async with client:
        hour = markets.hour_markets(0, 0, 8)
        return await play.play(client, "tests", hour, play.agents(16))


def test_all_agents_of_an_hour_are_answered_at_once_each_by_the_model_of_its_arm(
    make_settings: Callable[..., Settings], connection: Connection, tmp_path: Path
) -> None:
    with Upstream() as trainer, ExternalServer(0) as external:
        trainer.says("buy")
        with opened(
            make_settings,
            connection,
            trainer.url,
            tmp_path,
            gateway_upstreams=json.loads(external.upstreams),
        ) as url:
            begun = window_id(clock.now(connection))
            made = Arms(
                from_window="2026-01-31T09:00", salt="a", control_share=0.5, control_model=NAME
            )
            arms.begin(connection, "tests", made)
            turns = asyncio.run(_once_read(url))
    assert len(turns) == 8 * 16
    if window_id(clock.now(connection)) == begun:  # else they are drawn for either hour
        for turn in turns:
            assert turn.external is (draw(made, turn.agent, begun) is Arm.CONTROL)
    valid = Counter(turn.last.valid for turn in turns if turn.external)
    assert valid[True] > 10 * valid[False]
    assert not any(turn.last.valid for turn in turns if not turn.external)


async def _once_read(url: str) -> list[play.Turn]:
    """Play until the gateway has read the arms: within a second, at the latest in a few tries."""
    turns = await played(url)
    while not any(turn.external for turn in turns):
        await asyncio.sleep(0.2)
        turns = await played(url)
    return turns
