"""Each kind of server is asked for ids and log-probabilities in its own way, found by asking it."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from endpoint import PATIENCE, until
from gateways import KEY, opened
from openai import OpenAI
from prometheus_client import REGISTRY
from sampling_servers import IDS, LOGPROBS, Dynamo, Groq, OldVllm, SamplingServer, Strict, Vllm

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

CAPTURED = "SELECT sample_state, token_ids, logprobs FROM training.calls"
ASKED: dict[str, Any] = {
    "model": "tests",
    "messages": [{"role": "user", "content": "Up or down?"}],
    "max_tokens": 4,
}


def shown() -> str | None:
    """The profile that the metric says is in use."""
    for family in REGISTRY.collect():
        if family.name == "babylon_gateway_server_profile":
            (one,) = (sample.labels["profile"] for sample in family.samples if sample.value)
            return one
    return None


@pytest.mark.parametrize(
    ("kind", "profile", "state"),
    [
        (Vllm, "vllm", "complete"),
        (OldVllm, "token_names", "complete"),
        (Dynamo, "dynamo", "complete"),
        (Strict, "text_only", "no_ids"),
        (Groq, "text_only", "no_logprobs"),
    ],
)
def test_a_server_is_asked_as_it_answers(
    make_settings: Callable[..., Settings],
    connection: Connection,
    tmp_path: Path,
    kind: type[SamplingServer],
    profile: str,
    state: str,
) -> None:
    with kind() as server, opened(make_settings, connection, server.url, tmp_path) as url:
        until(lambda: shown() == profile)
        with OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
            reply = client.chat.completions.create(**ASKED).to_dict()
        until(lambda: connection.execute(CAPTURED).fetchone() is not None)
    (row,) = connection.execute(CAPTURED).fetchall()
    exact = (array("i", IDS).tobytes(), array("f", LOGPROBS).tobytes())
    assert row == (state, *(exact if state == "complete" else (None, None)))
    (choice,) = reply["choices"]  # the client gets what it asked for
    assert choice["message"]["content"] == "buy"
    assert "nvext" not in reply
    assert "token_ids" not in choice
    assert choice["logprobs"] is None


def test_who_asks_for_log_probabilities_gets_the_texts_of_its_tokens(
    make_settings: Callable[..., Settings], connection: Connection, tmp_path: Path
) -> None:
    with OldVllm() as server, opened(make_settings, connection, server.url, tmp_path) as url:
        until(lambda: shown() == "token_names")
        with OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
            (choice,) = client.chat.completions.create(**ASKED, logprobs=True).choices
    assert choice.logprobs is not None
    assert [one.token for one in choice.logprobs.content or ()] == ["b", "uy", ""]


def samples(state: str) -> float:
    return REGISTRY.get_sample_value("babylon_gateway_samples_total", {"state": state}) or 0.0


def test_what_a_parameter_shaped_is_counted_as_that_and_not_as_complete(
    make_settings: Callable[..., Settings], connection: Connection, tmp_path: Path
) -> None:
    with Vllm() as server, opened(make_settings, connection, server.url, tmp_path) as url:
        until(lambda: shown() == "vllm")
        before = {state: samples(state) for state in ("shaped", "complete")}
        with OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
            client.chat.completions.create(**ASKED, extra_body={"top_k": 20})
            client.chat.completions.create(**ASKED, extra_body={"top_k": -1})
    assert {state: samples(state) - before[state] for state in before} == {
        "shaped": 1,
        "complete": 1,
    }
