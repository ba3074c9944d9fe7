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

from babylon_tasks.db.session import Connection
from babylon_tasks.sandbox.babylon_world import markets, play
from babylon_tasks.sandbox.babylon_world.external_model import NAME
from babylon_tasks.sandbox.babylon_world.external_server import ExternalServer
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)


async def played(url: str) -> list[play.Turn]:
    """One hour's turns; no question is asked twice."""
    client = AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE)
    wanted = play.turns(markets.hour_markets(0, 0, 8), play.agents(16), 4)
    async with client:
        ours, external = await asyncio.gather(
            play.play(client, wanted[::2], "tests"), play.play(client, wanted[1::2], NAME)
        )
    return ours + external


def test_all_agents_of_an_hour_are_answered_at_once_each_by_the_model_that_it_asks_for(
    make_settings: Callable[..., Settings], connection: Connection, tmp_path: Path
) -> None:
    with Upstream() as trainer, ExternalServer(0) as external:
        trainer.says("buy")
        upstreams = json.loads(external.upstreams)
        with opened(
            make_settings, connection, trainer.url, tmp_path, gateway_upstreams=upstreams
        ) as url:
            turns = asyncio.run(played(url))
    assert [turn.external for turn in turns] == [False] * 64 + [True] * 64
    valid = Counter(turn.last.valid for turn in turns if turn.external)
    assert valid[True] > 10 * valid[False]
    assert not any(turn.last.valid for turn in turns if not turn.external)
