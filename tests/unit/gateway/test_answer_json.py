"""A checkpoint's answer that is decoded in part says the same as one that is decoded whole."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from babylon_tasks.gateway.answer_json import decoded
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.trainer_reply import for_client
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


def asked(**fields: Any) -> GatewayRequest:
    return GatewayRequest(json.dumps({"model": "babylon", **fields}).encode())


@pytest.mark.parametrize("given", [{}, {"logprobs": False}, {"logprobs": True}], ids=str)
def test_the_client_gets_the_same(given: dict[str, Any]) -> None:
    one = asked(**given)
    found = for_client(decoded(json.dumps(REPLY).encode(), one), one, answer_id="x", name="n")
    assert found == for_client(REPLY, one, answer_id="x", name="n")


def test_what_is_kept_of_it_is_the_same() -> None:
    exact = {**CHOICE, "logprobs": {"content": [TOKEN, TOKEN]}}
    reply = {**REPLY, "choices": [exact]}
    found = read_completion(decoded(json.dumps(reply).encode(), asked()))
    whole = read_completion(reply)
    assert found.token_bytes is None, "which nobody keeps"
    assert msgspec.structs.replace(whole, token_bytes=None) == found
    assert found.logprobs == (-0.5, -0.5)


@pytest.mark.parametrize(
    "odd",
    [
        {**REPLY, "choices": None},
        {**REPLY, "choices": [1]},
        {**REPLY, "choices": [{**CHOICE, "logprobs": [1]}]},
        {**REPLY, "choices": [{**CHOICE, "logprobs": {"content": [1]}}]},
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
