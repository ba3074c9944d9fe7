"""A promotion, a rollback and arms count from the gateway's next look at Postgres on.

It looks every half second, so that they are obeyed within one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoint import PATIENCE
from openai import OpenAI
from upstream import Upstream

from babylon_tasks.arms import Arms
from babylon_tasks.db import arms, lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.gateway import pointer
from babylon_tasks.gateway.process import Gateway
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

BEGUN = "2026-01-31T09:00"
KEY = "key-of-the-agents-0"
ASKED: dict[str, Any] = {"model": "tests", "messages": [{"role": "user", "content": "?"}]}


@pytest.fixture
def gateway(
    make_settings: Callable[..., Settings],
    connection: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Gateway]:
    """A gateway that looks at Postgres when it is told to; the lineage has steps 0 to 2."""
    monkeypatch.setattr(pointer, "POLL_SECONDS", 100 * PATIENCE)
    with Upstream() as trainer:
        trainer.says("buy")
        settings = make_settings(
            lineage="tests",
            gateway_port=0,
            gateway_spool_dir=tmp_path,
            gateway_keys=f"agents:{KEY}",
        )
        lineages.ensure(connection, settings)
        lineages.announce(connection, "tests", backend="cpu", base_url=trainer.url)
        connection.execute(
            "INSERT INTO training.checkpoints (lineage, step, inference_name, uri)"
            " SELECT 'tests', n, 'tests@' || n, 'x' FROM generate_series(1, 2) AS n"
        )
        made = Gateway(settings)
        made.start()
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture
def agent(gateway: Gateway) -> Iterator[Callable[[], str]]:
    """``agent()`` asks the bare name over one connection, and returns who answered."""
    url = f"http://127.0.0.1:{gateway.port}/v1"
    with OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
        yield lambda: client.chat.completions.create(**ASKED).model


def test_it_looks_every_half_second() -> None:
    assert pointer.POLL_SECONDS <= 0.5


def test_one_look_is_enough_for_a_promotion_and_a_rollback(
    gateway: Gateway, agent: Callable[[], str], connection: Connection
) -> None:
    assert agent() == "tests@0"
    connection.execute("UPDATE training.lineages SET serving_step = 1, head_step = 1")
    assert agent() == "tests@0", "no request looks"
    gateway.pointer.poll()
    assert agent() == "tests@1"

    connection.execute("UPDATE training.lineages SET serving_step = 0")
    gateway.pointer.poll()
    assert agent() == "tests@0"


def test_one_look_is_enough_for_arms(
    gateway: Gateway, agent: Callable[[], str], connection: Connection
) -> None:
    assert agent() == "tests@0"
    everybody = Arms(from_window=BEGUN, salt="a", examinee_share=1.0, examinee_step=2)
    arms.begin(connection, "tests", everybody)
    gateway.pointer.poll()
    assert agent() == "tests@2"

    arms.begin(connection, "tests", Arms(from_window=BEGUN, salt="a"))
    gateway.pointer.poll()
    assert agent() == "tests@0"
