"""A checkpoint's answer that is decoded in part says the same as one that is decoded whole."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from babylon_tasks.gateway.answer_json import decoded
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.trainer_reply import for_client, read_sample
from babylon_tasks.recorder.completion import read_completion

TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b"}]}
CHOICE = {
    "index": 0,
    "message": {"role": "assistant", "content": "a", "tool_calls": [{"id": "c"}]},
    "finish_reason": "stop",
    "token_ids": [1, 2],
    "logprobs": {"content": [TOKEN, {**TOKEN, "logprob": None}], "refusal": None},
    "odd": 1.5,
}
REPLY = {"id": "i", "created": 1, "choices": [CHOICE], "usage": {"completion_tokens": 2}}
EXACT = {**REPLY, "choices": [{**CHOICE, "logprobs": {"content": [TOKEN, TOKEN]}}]}


def asked(**fields: Any) -> GatewayRequest:
    return GatewayRequest(json.dumps({"model": "babylon", **fields}).encode())


@pytest.mark.parametrize("given", [{}, {"logprobs": False}, {"logprobs": True}], ids=str)
def test_the_client_gets_the_same(given: dict[str, Any]) -> None:
    one = asked(**given)
    found = for_client(decoded(json.dumps(REPLY).encode(), one), one, answer_id="x", name="n")
    assert found == for_client(REPLY, one, answer_id="x", name="n")


def test_what_is_kept_of_it_is_the_same() -> None:
    found = read_completion(decoded(json.dumps(EXACT).encode(), asked()))
    whole = read_completion(EXACT)
    assert found.token_bytes is None, "which nobody keeps"
    assert msgspec.structs.replace(whole, token_bytes=None) == found
    assert found.logprobs == (-0.5, -0.5)


def with_prompt_ids(name: str) -> dict[str, Any]:
    """An answer with its prompt's ids where a kind of server puts them."""
    match name:
        case "choice":
            return {**EXACT, "choices": [{**EXACT["choices"][0], "prompt_token_ids": [7, 8]}]}
        case "nvext":
            data = {"completion_token_ids": [1, 2], "completion_logprobs": [-0.5, -0.5]}
            return {**EXACT, "nvext": {"engine_data": {"prompt_token_ids": [7, 8], **data}}}
    return {**EXACT, "prompt_token_ids": [7, 8]}


@pytest.mark.parametrize("place", ["reply", "choice", "nvext"])
@pytest.mark.parametrize("logprobs", [False, True])
def test_the_ids_of_the_prompt_are_decoded_only_for_who_wants_them(
    place: str, logprobs: bool
) -> None:
    counted = {**with_prompt_ids(place), "usage": {"prompt_tokens": 2, "completion_tokens": 2}}
    content, one = json.dumps(counted).encode(), asked(logprobs=logprobs)
    found = decoded(content, one)
    assert "prompt_token_ids" not in json.dumps(found)
    assert read_sample(found)[1].token_ids == (1, 2)
    for wanted in (
        decoded(content, one, prompt_ids=True),
        decoded(content, asked(return_token_ids=True)),
        decoded(content, asked(nvext={"extra_fields": ["engine_data"]})),
    ):
        assert read_completion(wanted).prompt_ids == (7, 8)


def test_without_a_usage_they_are_counted() -> None:
    reply = {**with_prompt_ids("reply"), "usage": None}
    assert read_completion(decoded(json.dumps(reply).encode(), asked())).prompt_tokens == 2


@pytest.mark.parametrize(
    "odd",
    [
        {**REPLY, "choices": None},
        {**REPLY, "choices": [1]},
        {**REPLY, "choices": [{**CHOICE, "logprobs": [1]}]},
        {**REPLY, "choices": [{**CHOICE, "logprobs": {"content": [1]}}]},
        {**EXACT, "usage": {"prompt_tokens": 2}, "nvext": [1]},
        {"id": "i"},
    ],
    ids=str,
)
def test_what_has_another_form_is_decoded_as_it_is(odd: dict[str, Any]) -> None:
    assert decoded(json.dumps(odd).encode(), asked()) == odd


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3"])
def test_what_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decoded(content, asked())
