"""Parts of the gateway by themselves: who asks, budgets, what is forwarded, what is exact."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from typing import Any

import pytest
from prometheus_client import Counter

from babylon_tasks.errors import SettingsError
from babylon_tasks.gateway import metrics
from babylon_tasks.gateway.asker import AgentSource, asker
from babylon_tasks.gateway.away import AwayReason
from babylon_tasks.gateway.breaker import FAILURES, SILENT_SECONDS, Breaker
from babylon_tasks.gateway.capture_state import CaptureState
from babylon_tasks.gateway.profiles import VLLM
from babylon_tasks.gateway.prompt_agent import SEARCHED, PromptAgent
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.stream import events
from babylon_tasks.gateway.trainer_body import (
    for_checkpoint,
    shaped,
    smaller_budget,
    trainer_body,
    within_budget,
)
from babylon_tasks.gateway.trainer_reply import SampleState, for_client, read_sample
from babylon_tasks.http_server.refusals import Refused


@pytest.mark.parametrize(
    ("given", "agent", "source"),
    [
        ({"header": b"h", "path": "p", "key": "k", "user": "u"}, "h", AgentSource.HEADER),
        ({"path": "p%2F1", "key": "k", "user": "u"}, "p/1", AgentSource.PATH),
        ({"key": "k", "user": "u"}, "k", AgentSource.KEY),
        ({"user": "u"}, "u", AgentSource.USER),
        ({"user": "u", "in_prompt": lambda: "s"}, "u", AgentSource.USER),
        ({"user": "u" * 201, "in_prompt": lambda: "s"}, "s", AgentSource.SYSTEM_PROMPT),
        ({"in_prompt": lambda: "s\n"}, None, AgentSource.NONE),
        ({"user": "u" * 201}, None, AgentSource.NONE),
        ({}, None, AgentSource.NONE),
    ],
)
def test_the_first_that_names_an_agent_counts(
    given: dict[str, Any], agent: str | None, source: AgentSource
) -> None:
    nothing = {"header": None, "path": None, "key": None, "user": None, "in_prompt": lambda: None}
    found = asker(**{**nothing, **given})
    assert (found.agent, found.source) == (agent, source)


@pytest.mark.parametrize(
    ("messages", "agent"),
    [
        ([{"role": "system", "content": "Your id is u-7. Trade."}], "u-7"),
        ([{"role": "system", "content": [{"type": "text", "text": "Your id is u-7."}]}], "u-7"),
        ([{"role": "system", "content": "é" * (SEARCHED - 14) + "Your id is u-7"}], "u-7"),
        ([{"role": "system", "content": "é" * (SEARCHED - 13) + "Your id is u-7"}], "u-"),
        ([{"role": "system", "content": "You trade."}], None),
        # Only what the application wrote, and not what somebody wrote to it.
        ([{"role": "user", "content": "Your id is u-8."}], None),
        ([{"role": "user", "content": "?"}, {"role": "system", "content": "Your id is u-8"}], None),
        ([], None),
        ([None], None),
        ("Your id is u-8", None),
    ],
)
def test_an_agent_is_found_in_its_system_prompt(messages: Any, agent: str | None) -> None:
    pattern = PromptAgent(r"Your id is (?P<agent>[a-z0-9-]+)")
    assert pattern.find(asked(messages=messages)) == agent
    assert PromptAgent(None).find(asked(messages=messages)) is None


def test_no_pattern_takes_longer_for_a_prompt_that_was_made_for_it() -> None:
    # Python's own `re` would not return from this in a lifetime.
    pattern = PromptAgent(r"(?P<agent>(a+)+)\$")
    assert pattern.find(asked(messages=[{"role": "system", "content": "a" * SEARCHED}])) is None


def test_a_pattern_that_re2_cannot_follow_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"BABYLON_GATEWAY_AGENT_PATTERN.*no look-around"):
        PromptAgent(r"(?P<agent>\w+)(?= trades)")


def asked(**fields: Any) -> GatewayRequest:
    return GatewayRequest(json.dumps({"model": "babylon", **fields}).encode())


def test_of_half_an_emoji_it_is_said_what_it_is() -> None:
    with pytest.raises(Refused, match=r"half a character, \\ud83d at byte 63"):
        asked(messages=[{"role": "user", "content": "\ud83d"}])


@pytest.mark.parametrize(
    ("refusal", "budget"),
    [
        ("max_tokens: Expected `int` <= 1024", 1024),
        (
            "'max_tokens' is too large: 8192. This model's maximum context length is 4096 tokens "
            "and your request has 153 input tokens",
            4096 - 153 - 8,
        ),
        ("This model's maximum context length is 4096 tokens. However, you requested 9000 tokens "
         "(4100 in the messages, 4900 in the completion)", None),
        ("temperature: Expected `float` <= 2.0", None),
    ],
)  # fmt: skip
def test_a_budget_that_a_server_refuses_is_made_smaller(refusal: str, budget: int | None) -> None:
    assert smaller_budget(asked(max_tokens=8192), refusal) == budget


def test_only_the_budget_that_was_given_is_made_smaller() -> None:
    body = json.loads(
        trainer_body(within_budget(asked(max_completion_tokens=9000), 1024), "m", VLLM)
    )
    assert body["max_completion_tokens"] == 1024
    assert "max_tokens" not in body
    assert smaller_budget(asked(), "max_tokens: Expected `int` <= 1024") is None


def test_a_request_is_forwarded_as_it_came_with_what_exactness_needs() -> None:
    fields = {"messages": [], "tools": [{}], "temperature": 0.7, "top_logprobs": None, "odd": "é"}
    body = json.loads(trainer_body(asked(**fields, stream=True), "babylon@3", VLLM))
    added = {
        "model": "babylon@3",
        "top_p": 1,
        "top_logprobs": 0,
        "logprobs": True,
        "return_token_ids": True,
        "return_tokens_as_token_ids": False,
    }
    assert body == {**fields, **added}


@pytest.mark.parametrize(
    ("fields", "setting", "temperature"),
    [
        ({"temperature": 0.7}, None, 0.7),
        ({"temperature": 0.7}, 1.0, 1),
        ({}, 0.5, 0.5),
        ({"temperature": "warm"}, 1.0, 1),
        # It records for itself how it was sampled: at what it asked for.
        ({"temperature": 0.7, "logprobs": True}, 1.0, 0.7),
    ],
)
def test_a_checkpoint_is_asked_at_the_temperature_of_the_setting(
    fields: dict[str, Any], setting: float | None, temperature: float
) -> None:
    came = asked(**fields)
    made = for_checkpoint(came, setting)
    assert json.loads(trainer_body(made, "babylon@3", VLLM))["temperature"] == temperature
    assert not shaped(made)
    # The fallback is asked what the client asked, without what its provider may refuse.
    kept = {name: value for name, value in fields.items() if name != "logprobs"}
    assert json.loads(came.for_another("qwen/q")) == {**kept, "model": "qwen/q"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"nvext": {"extra_fields": ["engine_data"]}}, False),
        ({"nvext": {"extra_fields": ["engine_data"], "top_k": 20}}, True),
        ({"nvext": 7}, True),
        ({"temperature": "1"}, True),
        ({"temperature": 0.5, "top_p": None, "logit_bias": {}}, False),
        ({"logit_bias": {"7": 1}}, True),
    ],
)
def test_what_only_asks_for_fields_of_the_answer_shapes_no_sample(
    fields: dict[str, Any], expected: bool
) -> None:
    assert shaped(asked(**fields)) is expected


def test_a_parameter_that_cannot_be_read_shapes() -> None:
    assert shaped(GatewayRequest(b'{"model":"babylon","top_k":1e999}'))


def reply(ids: list[Any], logprobs: list[float | None], tokens: int) -> dict[str, Any]:
    content = [{"token": "a", "logprob": one, "bytes": None} for one in logprobs]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "a"},
        "finish_reason": "stop",
        "token_ids": ids,
        "logprobs": {"content": content},
    }
    return {"id": "i", "created": 1, "model": "m", "choices": [choice], "usage": {"completion_tokens": tokens}}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (reply([1, 2], [-0.1, 0.0], 2), SampleState.COMPLETE),
        (reply([1, 2, 3], [-0.1, -0.2], 2), SampleState.LENGTHS),
        (reply([1, 2], [-0.1, -0.2], 3), SampleState.LENGTHS),
        (reply([1], [0.5], 1), SampleState.NOT_FINITE),
        (reply([1], [], 1), SampleState.NO_LOGPROBS),
        (reply([1], [None], 1), SampleState.MALFORMED),
        (reply(["a"], [-0.1], 1), SampleState.MALFORMED),
    ],
)
def test_an_answer_is_exact_only_if_all_its_counts_agree(
    given: dict[str, Any], state: SampleState
) -> None:
    found = read_sample(given)
    assert found[0] is state
    assert found[1].response == "a"


def test_a_stream_ends_with_the_usage_where_each_client_looks_for_it() -> None:
    *chunks, usage, done = events(reply([1], [-0.1], 1), usage=True, groq=True)
    parsed = [json.loads(one.removeprefix(b"data: ")) for one in (*chunks, usage)]
    assert parsed[0]["choices"][0]["delta"] == {"role": "assistant", "content": "a"}
    assert parsed[1]["x_groq"]["usage"] == parsed[2]["usage"] == {"completion_tokens": 1}
    assert parsed[2]["choices"] == []
    assert done == b"data: [DONE]\n\n"


def test_an_answer_says_in_each_chunk_which_checkpoint_made_it() -> None:
    answer = for_client(reply([1], [-0.1], 1), asked(), answer_id="a", name="babylon@3")
    assert answer["system_fingerprint"] == answer["model"] == "babylon@3"
    *chunks, _ = events(answer, usage=True, groq=False)
    parsed = [json.loads(one.removeprefix(b"data: ")) for one in chunks]
    assert {one["system_fingerprint"] for one in parsed} == {"babylon@3"}


@pytest.mark.parametrize(
    ("counter", "values"),
    [
        (metrics.CALLS, AgentSource),
        (metrics.FALLBACKS, AwayReason),
        (metrics.SAMPLES, SampleState),
        (metrics.CAPTURES, CaptureState),
    ],
)
def test_a_counter_shows_each_of_its_values_before_the_first_event(
    counter: Counter, values: type[StrEnum]
) -> None:
    (family,) = counter.collect()
    assert {value for one in family.samples for value in one.labels.values()} == set(values)


def test_a_breaker_opens_after_failures_in_a_row_and_closes_with_an_answer() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.admits()
        breaker.failed()
    assert not breaker.admits()
    breaker.succeeded()
    assert breaker.admits()


def test_clients_that_give_up_on_a_silent_server_open_the_breaker() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.admits()
        breaker.given_up(time.monotonic() - SILENT_SECONDS)
    assert not breaker.admits()


def test_clients_in_a_hurry_do_not_open_the_breaker() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.given_up(time.monotonic())
    assert breaker.admits()

    # They had waited, and meanwhile others got answers.
    breaker.succeeded()
    for _ in range(FAILURES):
        breaker.given_up(time.monotonic() - SILENT_SECONDS)
    assert breaker.admits()
