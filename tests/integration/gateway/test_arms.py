"""The gateway obeys the arms that a decision wrote, and captures say which."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from endpoint import PATIENCE, until
from gateways import KEY, opened
from openai import APIStatusError, OpenAI
from prometheus_client import REGISTRY
from psycopg.errors import IntegrityError
from scored_windows import column
from upstream import Upstream

from babylon_tasks.arms import Arm, Arms, draw
from babylon_tasks.db import arms, clock, lineages, played_hours, promotions
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.errors import CheckpointNotFound
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_id

pytestmark = pytest.mark.contract(None)

AGENTS = [f"agent-{number}" for number in range(30)]
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 4}


@pytest.fixture
def others(
    make_settings: Callable[..., Settings], connection: Connection, tmp_path: Path
) -> Iterator[tuple[OpenAI, Upstream]]:
    """A client of a gateway: the lineage's server, and another that has ``qwen/*``."""
    with Upstream() as trainer, Upstream() as groq:
        trainer.says("buy")
        groq.says("hold")
        upstreams = {"groq": {"base_url": groq.url, "models": ["qwen/*"]}}
        with (
            opened(
                make_settings, connection, trainer.url, tmp_path, gateway_upstreams=upstreams
            ) as url,
            OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE) as client,
        ):
            connection.execute(
                "INSERT INTO training.checkpoints (lineage, step, inference_name, uri)"
                " SELECT 'tests', n, 'tests@' || n, 'x' FROM generate_series(1, 2) AS n"
            )
            yield client, groq


def decide(connection: Connection, **fields: Any) -> Arms:
    """Arms that count from this hour on; the hour may end, so from the one before."""
    values = {"salt": "a1", "control_share": 0.3, "examinee_share": 0.3, "examinee_step": 2}
    made = Arms(**{"from_window": "2026-01-31T09:00", **values, **fields})
    arms.begin(connection, "tests", made)
    return made


def answered(client: OpenAI, agent: str | None, model: str = "tests") -> str:
    headers = {} if agent is None else {"X-Babylon-Agent": agent}
    return client.chat.completions.create(model=model, **ASKED, extra_headers=headers).model


def refused(client: OpenAI) -> int:
    """The status of a refusal; 200 for an answer."""
    try:
        answered(client, "agent-0")
    except APIStatusError as error:
        return error.status_code
    return 200


def test_the_hour_is_that_of_postgres_whatever_the_clock_of_the_gateways_machine(
    others: tuple[OpenAI, Upstream], connection: Connection
) -> None:
    client, _ = others
    decide(
        connection,
        from_window="2040-01-01T05:00",
        control_share=1.0,
        examinee_share=0.0,
        control_step=1,
    )
    assert answered(client, "agent-0") == "tests@0"

    played_hours.begin(connection, "2040-01-01T05:00")
    until(lambda: answered(client, "agent-0") == "tests@1")

    hours = "SELECT DISTINCT window_id FROM training.calls WHERE step = 1"
    until(lambda: column(connection, hours) == ["2040-01-01T05:00"])
    assert arms.this_hour(connection) == "2040-01-01T05:00"


def test_each_agent_gets_what_its_arm_has_and_captures_name_the_arm(
    others: tuple[OpenAI, Upstream], connection: Connection
) -> None:
    client, groq = others
    assert answered(client, "agent-0") == "tests@0"
    decided = decide(connection, control_model="qwen/q")
    until(lambda: {answered(client, one) for one in AGENTS} == {"tests@0", "tests@2", "m"})
    # Once more: the first of them may have asked before the decision was read.
    assert {answered(client, one) for one in AGENTS} == {"tests@0", "tests@2", "m"}

    assert answered(client, "pinned", "tests@1") == "tests@1", "who names a checkpoint gets it"
    assert answered(client, None) == "tests@0", "nor is one drawn that has no name"
    assert b'"model":"qwen/q"' in groq.came[-1][1]

    for agent in AGENTS:
        answered(client, agent)
    found = "SELECT agent, window_id, arm, step, model FROM training.calls WHERE arm IS NOT NULL"
    until(lambda: set(AGENTS) <= {row[0] for row in connection.execute(found)})
    gave = {Arm.SERVING: (0, None), Arm.EXAMINEE: (2, None), Arm.CONTROL: (None, "qwen/q")}
    for agent, window, arm, *by in connection.execute(found).fetchall():
        assert arm == draw(decided, agent, window)
        assert tuple(by) == gave[Arm(arm)]
    labels = {"served_by": "groq", "arm": "control", "code": "200"}
    name = "babylon_gateway_duration_seconds_count"
    assert (REGISTRY.get_sample_value(name, labels) or 0) >= 1

    # A roll-back is one more row: everybody gets what serves, at once.
    decide(connection, control_share=0.0, examinee_share=0.0, examinee_step=None)
    until(lambda: {answered(client, one) for one in AGENTS} == {"tests@0"})


def test_a_control_arms_server_is_not_asked_for_what_only_checkpoints_report(
    others: tuple[OpenAI, Upstream], connection: Connection
) -> None:
    client, groq = others
    decide(connection, control_share=1.0, control_model="qwen/q", examinee_share=0.0)
    until(lambda: answered(client, "agent-0") == "m")
    ids = {"return_token_ids": True, "return_tokens_as_token_ids": True, "nvext": {"a": 1}}
    exact: dict[str, Any] = {"logprobs": True, "top_logprobs": 1, "extra_body": ids}
    client.chat.completions.create(
        model="tests", **ASKED, **exact, extra_headers={"X-Babylon-Agent": "agent-0"}
    )
    assert json.loads(groq.came[-1][1]) == {**ASKED, "model": "qwen/q"}
    # Who names the model itself gets what its server says to that.
    client.chat.completions.create(model="qwen/q", **ASKED, **exact)
    assert set(ids) | {"logprobs", "top_logprobs"} <= set(json.loads(groq.came[-1][1]))


def test_a_model_that_no_server_lists_is_refused_and_not_replaced(
    others: tuple[OpenAI, Upstream], connection: Connection
) -> None:
    client, _ = others
    decide(connection, control_share=1.0, control_model="another", examinee_share=0.0)
    until(lambda: refused(client) == 503)


def test_arms_that_begin_later_are_known_before_they_count(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    lineages.ensure(connection, make_settings(lineage="tests"))
    fields = {"control_step": 0, "examinee_step": 0}
    now = window_id(clock.now(connection))
    later = decide(connection, from_window="9999-01-01T00:00", **fields)
    assert arms.since(connection, "tests", now) == [later]
    first = decide(connection, **fields)
    assert arms.since(connection, "tests", now) == [first], "the later decision counts"
    last = decide(connection, from_window="9999-01-01T00:00", **fields)
    assert arms.since(connection, "tests", now) == [first, last]


def test_arms_that_cannot_be_answered_are_not_written(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    lineages.ensure(connection, make_settings(lineage="tests"))
    whole: dict[str, Any] = {"control_step": 0, "examinee_step": 0}
    for wrong in (
        {"control_step": 9},  # no such checkpoint
        {"examinee_step": 9},
        {"control_step": None},  # nothing answers
        {"examinee_step": None},
        {"control_model": "qwen/q"},  # two answer
        {"control_share": 0.8},  # more than all agents
        {"control_share": -0.1},
    ):
        with pytest.raises(IntegrityError):
            decide(connection, **{**whole, **wrong})
    decide(connection, **whole)


@pytest.mark.parametrize("arm", ["control_step", "examinee_step"])
def test_an_arm_gets_no_checkpoint_that_is_pruned_at_the_same_time(
    make_settings: Callable[..., Settings], connection: Connection, arm: str
) -> None:
    settings = make_settings(lineage="tests")
    lineages.ensure(connection, settings)
    connection.execute(
        "INSERT INTO training.checkpoints (lineage, step, inference_name, uri)"
        " VALUES ('tests', 1, 'tests@1', 'x')"
    )
    fields = {"control_step": 0, "examinee_step": 0, arm: 1}
    with ThreadPoolExecutor() as pool, connect(settings) as pruning:
        with pruning.transaction():  # as `old_checkpoints.mark` does, which read the arms before
            promotions.lock(pruning, "tests")
            deciding = pool.submit(decide, connection, **fields)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            until(lambda: deciding.done() or column(pruning, waiting) != [0])
            pruning.execute("UPDATE training.checkpoints SET pruned_at = now() WHERE step = 1")
        with pytest.raises(CheckpointNotFound, match=r"tests@1 was pruned at .* no arm can have"):
            deciding.result()
    assert arms.since(connection, "tests", "0001-01-01T00:00") == []
