"""The token ids of prompts reach what is trained on, recorded or captured, where they are kept.

ART 0.5.23 trains on no answer without them. The endpoint is a real one, with a gateway before it;
what it was really asked is rendered here with the model's own template.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from endpoint import ASKED, Endpoint, until
from endpoint import KEY as ENDPOINT_KEY
from factories import action, insert_trajectories, llm_call, step, trajectory
from gateways import KEY, opened
from node import run
from openai import OpenAI

from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import decode
from babylon_tasks.pipeline.join_calls import CallJoin, JoinMode, JoinResult
from babylon_tasks.records import LlmCall, Trajectory
from babylon_tasks.settings import Settings
from babylon_tasks.training.policy import Policy
from babylon_tasks.windows import window_id

pytestmark = pytest.mark.contract("today")

MakeSettings = Callable[..., Settings]
WANDB_KEY = "key-of-wandb-0"
SYSTEM, USER = "You trade.", "Will ACME close higher?"
MESSAGES: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]


def rendered(policy: Policy) -> tuple[int, ...]:
    """The prompt's ids as the model was really asked."""
    made = policy.tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True)
    return tuple(made["input_ids"])


def recorded(connection: Connection, settings: Settings, window: str) -> Trajectory:
    """The window's only trajectory, decoded."""
    ((raw,),) = stream_window(connection, window, settings)
    found = decode(raw)
    assert isinstance(found, Trajectory), found
    return found


@pytest.fixture
def record(
    serve: Callable[..., Endpoint],
    make_settings: MakeSettings,
    connection: Connection,
    database_url: str,
    tmp_path: Path,
) -> Callable[..., tuple[LlmCall, ...]]:
    """``record(behind="gateway", options={...})``: calls that a `recordingFetch` recorded."""

    def calls(*, behind: str, options: dict[str, Any]) -> tuple[LlmCall, ...]:
        trainer = f"{serve().url}/v1"
        asked = {"messages": MESSAGES, "max_tokens": 4}

        def by(url: str, key: str, *bodies: dict[str, Any]) -> None:
            given = {"agent": "agent-1", "url": url, "apiKey": key, "options": options}
            run("test/record.ts", given={**given, "asked": bodies}, DATABASE_URL=database_url)

        if behind == "gateway":
            with opened(make_settings, connection, trainer, tmp_path) as url:
                by(
                    url,
                    KEY,
                    {**asked, "model": "tests"},
                    {**asked, "model": "tests", "stream": True},
                )
        else:
            by(trainer, ENDPOINT_KEY, {**asked, "model": "tests@0"})
        (window,) = connection.execute('SELECT "windowId" FROM trajectories').fetchone() or ("",)
        return recorded(connection, make_settings(lineage="tests"), window).calls

    return calls


@pytest.mark.parametrize("behind", ["gateway", "endpoint"])
def test_recording_fetch_keeps_them_if_it_is_asked_to(
    record: Callable[..., tuple[LlmCall, ...]], policy: Policy, behind: str
) -> None:
    calls = record(behind=behind, options={"keepPromptIds": True})

    assert len(calls) == (2 if behind == "gateway" else 1)
    assert {call.prompt_ids for call in calls} == {rendered(policy)}
    assert all(call.token_ids and call.logprobs for call in calls)


def test_recording_fetch_keeps_none_otherwise(
    record: Callable[..., tuple[LlmCall, ...]], policy: Policy
) -> None:
    [call] = record(behind="endpoint", options={})

    assert call.token_ids
    assert (call.prompt_ids, call.prompt_tokens) == (None, len(rendered(policy)))


@pytest.fixture
def joined(
    serve: Callable[..., Endpoint],
    make_settings: MakeSettings,
    connection: Connection,
    tmp_path: Path,
) -> Callable[..., LlmCall]:
    """``joined("cpu", "always", kept=True)``: a call of Babylon's with what was captured of it.

    The endpoint passes for the server of that backend.
    """

    def captured() -> tuple[datetime, bool] | None:
        row = connection.execute(
            "SELECT asked_at, sample_state, sampling ? 'prompt_ids' FROM training.calls"
        ).fetchone()
        return None if row is None else (row[0], row[1] == "complete" and row[2])

    def asked(client: OpenAI, *, kept: bool) -> tuple[datetime, str]:
        """When, and the answer; asked until the gateway knows how this server reports ids."""
        answers: list[str] = []

        def as_wanted() -> bool:
            connection.execute("DELETE FROM training.calls")
            answers.append(_answer(client))
            until(lambda: captured() is not None)
            found = captured()
            return found is not None and (found[1] or not kept)

        until(as_wanted)
        found = captured()
        assert found is not None
        return found[0], answers[-1]

    def call(backend: str, setting: str, *, kept: bool) -> LlmCall:
        key = WANDB_KEY if backend == "serverless" else ENDPOINT_KEY
        trainer = f"{serve(key=key).url}/v1"
        values = {"gateway_prompt_ids": setting, "WANDB_API_KEY": WANDB_KEY}
        with (
            opened(make_settings, connection, trainer, tmp_path, backend=backend, **values) as url,
            OpenAI(base_url=url, api_key=KEY, max_retries=0) as client,
        ):
            asked_at, text = asked(client, kept=kept)
        window = window_id(asked_at)
        said = llm_call(text, model="groq", systemPrompt=SYSTEM, userPrompt=USER)
        row = trajectory(window, "agent-1", [step(0, [said], action=action("TRADE", market="m"))])
        insert_trajectories(connection, [row])
        join = CallJoin(connection, window, JoinMode.CLAIM)
        [found] = join.join([recorded(connection, make_settings(lineage="tests"), window)])
        assert join.results == {JoinResult.EXACT: 1}
        [one] = found.trajectory.calls
        return one

    return call


def _answer(client: OpenAI) -> str:
    asked = {**ASKED, "model": "tests", "messages": MESSAGES}
    made = client.chat.completions.create(**asked)
    return made.choices[0].message.content or ""


@pytest.mark.parametrize(
    ("setting", "backend"), [("always", "cpu"), ("auto", "serverless")], ids=["always", "needed"]
)
def test_a_call_that_recorded_nothing_gets_them_from_the_gateway(
    joined: Callable[..., LlmCall], policy: Policy, setting: str, backend: str
) -> None:
    found = joined(backend, setting, kept=True)

    assert found.token_ids
    assert found.prompt_ids == rendered(policy)


@pytest.mark.parametrize("setting", ["auto", "never"], ids=["not needed", "never"])
def test_the_gateway_keeps_none_otherwise(joined: Callable[..., LlmCall], setting: str) -> None:
    found = joined("cpu", setting, kept=False)

    assert found.token_ids
    assert found.prompt_ids is None
