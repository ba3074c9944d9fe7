"""Agents that are asked the same and answer the same: each call has a capture of its own, or none.

They ask a gateway and record as Babylon does; no capture is made or moved by the test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from endpoint import PATIENCE
from factories import SYSTEM, USER, action, insert_trajectories, llm_call, step, trajectory
from gateways import KEY, opened
from openai import OpenAI
from sampling_servers import IDS, Reply, Vllm

from babylon_tasks.db import clock
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import decode
from babylon_tasks.gateway import app
from babylon_tasks.pipeline.join_calls import CallJoin, JoinMode, JoinResult
from babylon_tasks.records import Trajectory
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_id

pytestmark = pytest.mark.contract("today")

AGENTS = [f"agent-{number}" for number in range(4)]
EACH = 3
ALL = len(AGENTS) * EACH
OTHER_IDS = [2000, 41, 2]  # of the same text
MESSAGES: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]

Ask = Callable[..., None]


class Drifting(Vllm):
    """It always says the same, in the tokens that it is told."""

    ids = IDS

    def tell(self, asked: Mapping[str, Any], reply: Reply, choice: Reply) -> None:
        super().tell(asked, reply, choice)
        choice["token_ids"] = self.ids


class Stopped:
    """The gateway's clock: all is asked at one moment, so that no hour ends meanwhile."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self, _: object) -> datetime:
        return self._moment


@pytest.fixture
def moment(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> datetime:
    made = clock.now(connection)
    monkeypatch.setattr(app, "datetime", Stopped(made))
    return made


@pytest.fixture
def asked(
    make_settings: Callable[..., Settings], connection: Connection, tmp_path: Path, moment: datetime
) -> Ask:
    """``asked(named=..., others=...)``: every agent has asked, and what it did is recorded.

    ``others``: so many answers are made of other tokens.
    """

    @contextmanager
    def agents(server: Drifting) -> Iterator[OpenAI]:
        with (
            opened(make_settings, connection, server.url, tmp_path) as url,
            OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE) as client,
        ):
            yield client

    def ask(*, named: bool, others: int = 0) -> None:
        rows = []
        with Drifting() as server, agents(server) as client:
            for agent in AGENTS:
                headers = {"X-Babylon-Agent": agent} if named else {}
                steps = []
                for number in range(EACH):
                    server.ids = OTHER_IDS if len(rows) * EACH + number < others else IDS
                    made = client.chat.completions.create(
                        model="tests", messages=MESSAGES, extra_headers=headers
                    )
                    text = made.choices[0].message.content or ""
                    call = llm_call(text, model="huggingface")
                    steps.append(step(number, [call], action=action("TRADE", market="m-1")))
                rows.append(trajectory(window_id(moment), agent, steps))
        insert_trajectories(connection, rows)

    return ask


def joined(connection: Connection, settings: Settings, moment: datetime) -> Counter[JoinResult]:
    """The results of the search for each recorded call's capture."""
    window = window_id(moment)
    rows = [decode(raw) for batch in stream_window(connection, window, settings) for raw in batch]
    read = [one for one in rows if isinstance(one, Trajectory)]
    assert len(read) == len(rows) == len(AGENTS)
    join = CallJoin(connection, window, JoinMode.CLAIM)
    join.join(read)
    return join.results


def claimed(connection: Connection) -> int:
    """How many recorded calls have a captured one; none has two."""
    row = connection.execute(
        "SELECT count(trajectory_id), count(DISTINCT (trajectory_id, place))"
        " FILTER (WHERE trajectory_id IS NOT NULL), count(*) FROM training.calls"
    ).fetchone()
    assert row is not None
    calls, places, captured = row
    assert captured == ALL
    assert calls == places
    return int(calls)


@pytest.mark.parametrize("named", [True, False])
def test_equal_calls_have_a_capture_each(
    asked: Ask,
    connection: Connection,
    make_settings: Callable[..., Settings],
    moment: datetime,
    named: bool,
) -> None:
    asked(named=named)
    assert joined(connection, make_settings(), moment) == Counter({JoinResult.EXACT: ALL})
    assert claimed(connection) == ALL


@pytest.mark.parametrize(("named", "ambiguous"), [(True, EACH), (False, ALL)])
def test_one_answer_in_other_tokens_leaves_open_whose_each_is(
    asked: Ask,
    connection: Connection,
    make_settings: Callable[..., Settings],
    moment: datetime,
    named: bool,
    ambiguous: int,
) -> None:
    """Of its own agent, where it is named; without names, of all that were asked the same."""
    asked(named=named, others=1)
    results = joined(connection, make_settings(), moment)
    assert results == Counter({JoinResult.AMBIGUOUS: ambiguous, JoinResult.EXACT: ALL - ambiguous})
    assert claimed(connection) == ALL - ambiguous
