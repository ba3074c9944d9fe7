"""What agents are given: what serves, a client for it, and README's example that uses both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from documents import ROOT, blocks

from babylon_tasks import Recorder, Serving, openai_client, serving
from babylon_tasks.agent_settings import AgentSettings
from babylon_tasks.db import lineages, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import decode
from babylon_tasks.errors import (
    CheckpointNotFound,
    NothingServes,
    SettingsError,
)
from babylon_tasks.records import Trajectory
from babylon_tasks.settings import Settings
from babylon_tasks.training.inference.server import InferenceServer
from babylon_tasks.training.policy import Policy

KEY = "the-agents-own-key"
MESSAGES = [{"role": "user", "content": "Will ACME close higher?"}]
pytestmark = pytest.mark.contract("today")


@pytest.fixture
def environment(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent's environment: the server's settings are none of its business."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("BABYLON_INFERENCE_API_KEY", KEY)
    monkeypatch.setenv("BABYLON_FLOWER_PORT", "abc")


@pytest.fixture
def endpoint(policy: Policy) -> Iterator[str]:
    """The address of a real model that answers whoever has the key."""
    server = InferenceServer(policy, "babylon", host="127.0.0.1", port=0, api_key=KEY)
    server.start()
    yield f"http://127.0.0.1:{server.port}/v1"
    server.stop()


def begin(connection: Connection, settings: Settings, url: str, backend: str = "cpu") -> None:
    """As a worker on queue gpu does when it starts."""
    lineages.ensure(connection, settings)
    lineages.announce(connection, settings.lineage, backend=backend, base_url=url)


@pytest.mark.usefixtures("environment")
def test_the_example_of_the_readme_asks_what_serves_and_records_it(
    endpoint: str, settings: Settings, connection: Connection
) -> None:
    begin(connection, settings, endpoint)
    (example,) = (block for block in blocks(ROOT / "README.md") if block.language == "python")
    names: dict[str, Any] = {}
    exec(example.text, names)  # noqa: S102

    async def agent() -> str:
        async with names["client"]:
            return str(await names["decide"]("agent-1", MESSAGES))

    response = asyncio.run(agent())
    recorder: Recorder = names["recorder"]
    recorder.close()

    assert (recorder.recorded, recorder.raised, recorder.unfinished) == (1, 0, 0)
    (window,) = connection.execute('SELECT "windowId" FROM trajectories').fetchone() or ("",)
    ((raw,),) = stream_window(connection, window, settings)
    found = decode(raw)
    assert isinstance(found, Trajectory)
    [call] = found.calls
    assert (call.response, call.policy_step, call.top_p) == (response, 0, 1)
    assert call.token_ids


@pytest.mark.usefixtures("environment")
def test_what_serves_is_read_again_at_each_question(
    settings: Settings, connection: Connection
) -> None:
    begin(connection, settings, "http://127.0.0.1:1/v1")
    assert serving() == Serving(0, "babylon@0", "http://127.0.0.1:1/v1", "cpu")
    connection.execute(
        "INSERT INTO training.checkpoints (lineage, step, uri, inference_name)"
        " VALUES ('babylon', 1, 'u', 'babylon@1')"
    )
    promotions.move(connection, "babylon", 1)
    assert serving().inference_name == "babylon@1"
    assert serving(settings).step == 1


@pytest.mark.usefixtures("environment")
def test_before_anything_serves_the_error_says_so(
    settings: Settings, connection: Connection
) -> None:
    with pytest.raises(CheckpointNotFound, match="does not exist yet"):
        openai_client()
    lineages.ensure(connection, settings)
    with pytest.raises(NothingServes, match="babylon@0 has no address yet"):
        serving().openai_client()


@pytest.mark.usefixtures("environment")
def test_the_key_is_that_of_the_backend_that_serves(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(connection, settings, "http://127.0.0.1:1/v1")
    client = openai_client(max_retries=7)
    assert (client.api_key, client.max_retries) == (KEY, 7)
    assert str(client.base_url) == "http://127.0.0.1:1/v1/"
    begin(connection, settings, "http://127.0.0.1:1/v1", backend="serverless")
    with pytest.raises(SettingsError, match="set WANDB_API_KEY"):
        openai_client()
    monkeypatch.setenv("WANDB_API_KEY", "of-wandb")
    assert openai_client().api_key == "of-wandb"


def test_agents_need_no_more_rights_than_the_document_says(
    settings: Settings, connection: Connection
) -> None:
    begin(connection, settings, "http://127.0.0.1:1/v1")
    (rights,) = (b.text for b in blocks(ROOT / "docs/recording.md") if b.language == "sql")
    url = urlsplit(settings.database_url.get_secret_value())
    login = f"agents:planted@{url.hostname}:{url.port}"
    role = AgentSettings(
        DATABASE_URL=urlunsplit(url._replace(netloc=login)),  # type: ignore[call-arg]
    )
    connection.execute("DROP ROLE IF EXISTS agents")
    connection.execute(rights.replace("…", "planted"))  # type: ignore[arg-type]
    try:
        assert serving(role).inference_name == "babylon@0"
        with Recorder(role) as recorder:
            with recorder.record("agent-1") as trajectory:
                trajectory.step(pnl=0).llm_call(
                    messages=MESSAGES, response="Yes", model="m", temperature=1, max_tokens=1
                )
            assert recorder.flush()
        assert (recorder.recorded, recorder.failed) == (1, 0)
    finally:
        connection.execute("DROP OWNED BY agents")
        connection.execute("DROP ROLE agents")
