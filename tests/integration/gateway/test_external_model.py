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
    named = play.agents(16)
    ours = play.ours(named, 0.5, "an hour")
    async with client:
        return await play.play(
            client,
            markets.hour_markets(0, 0, 8),
            named,
            lambda agent: "tests" if agent in ours else NAME,
        )


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
    assert len(turns) == 8 * 16
    ours = play.ours(play.agents(16), 0.5, "an hour")
    for turn in turns:
        assert turn.external is (turn.agent not in ours)
    valid = Counter(turn.last.valid for turn in turns if turn.external)
    assert valid[True] > 10 * valid[False]
    assert not any(turn.last.valid for turn in turns if not turn.external)
