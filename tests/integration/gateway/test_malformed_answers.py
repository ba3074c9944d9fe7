"""A checkpoint's server that answers, but not with a chat completion: the fallback answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from endpoint import until
from gateways import Played

pytestmark = pytest.mark.contract(None)

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "buy"}, "finish_reason": "stop"}
DEEP = 100_000


def reply(**choice: Any) -> bytes:
    return json.dumps({"id": "x", "choices": [{**CHOICE, **choice}]}).encode()


MALFORMED = {
    "nothing": b"",
    "a page": b"<html>",
    "a list": b"[]",
    "no choice": b'{"choices":[]}',
    "no message": reply(message=None),
    "no tool call": reply(message={"role": "assistant", "content": None, "tool_calls": [1]}),
    "half a character": b'{"choices":[{"message":{"content":"\\ud800"}}]}',
    "a nest": b'{"choices":' + b"[" * DEEP,
    "a nest beside the answer": reply()[:-1] + b',"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
}
HUGE = {"token": "buy", "logprob": -(10**400)}


@pytest.fixture
def both(
    played: Callable[..., AbstractContextManager[Played]],
) -> Iterator[Played]:
    with played(gateway_fallback="other/m") as made:
        until(lambda: bool(made.trainer.came))
        yield made


def served(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    headers = answer.headers
    return (
        answer.status_code,
        headers.get("x-babylon-served-by"),
        headers.get("x-babylon-fallback"),
    )


def test_the_fallback_answers_and_who_names_the_checkpoint_gets_an_error(both: Played) -> None:
    for name, content in MALFORMED.items():
        both.trainer.content = content
        for stream in (False, True):
            refusal = both.ask("tests@0", stream=stream)
            assert refusal.status_code == 502, name
            assert "did not send a chat completion" in refusal.json()["error"]["message"], name
        assert served(both.ask(stream=True)) == (200, "other", "malformed"), name
        both.trainer.says("buy")
        assert served(both.ask()) == (200, "tests@0", None), name


def test_a_logprob_beyond_any_number_costs_the_record_and_not_the_answer(both: Played) -> None:
    both.trainer.content = reply(logprobs={"content": [HUGE]}, token_ids=[1])
    assert served(both.ask()) == (200, "tests@0", None)


def test_a_header_of_another_server_is_passed_on_whatever_its_bytes(both: Played) -> None:
    both.other.limit = b"5 \xe2\x86\x92 6 \xff"
    answer = both.ask("m")
    assert answer.status_code == 200
    assert (b"x-ratelimit-remaining", both.other.limit) in [
        (name.lower(), value) for name, value in answer.headers.raw
    ]


@pytest.mark.parametrize("status", [101, 999])
def test_a_status_that_is_none_is_no_answer(both: Played, status: int) -> None:
    both.other.status = status
    refusal = both.ask("m")
    assert refusal.status_code == 502
    assert "gave no answer" in refusal.json()["error"]["message"]
