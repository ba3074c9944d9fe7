"""What a chat completion request may contain; everything else is refused by name."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from babylon_tasks.http_server.refusals import Refused
from babylon_tasks.recorder.completion import read_messages
from babylon_tasks.training.inference.chat_request import (
    ONLY,
    WITHOUT_EFFECT,
    ChatRequest,
    read_request,
)

ASKED: dict[str, Any] = {"model": "m@0", "messages": [{"role": "user", "content": "Hi"}]}


def read(**fields: Any) -> ChatRequest:
    return read_request(json.dumps({**ASKED, **fields}).encode())


def refused(**fields: Any) -> Refused:
    with pytest.raises(Refused) as refusal:
        read(**fields)
    assert refusal.value.status == 400
    return refusal.value


def test_every_parameter_of_openais_client_is_decided() -> None:
    parameters = {*get_type_hints(CompletionCreateParamsBase), "stream"}
    honoured = set(ChatRequest.__struct_fields__)

    assert parameters <= honoured | WITHOUT_EFFECT | set(ONLY)
    assert not honoured & set(ONLY)
    assert not honoured & WITHOUT_EFFECT


@pytest.mark.parametrize("name", sorted(ONLY))
def test_what_is_not_honoured_is_accepted_as_its_absence_and_else_refused_by_name(
    name: str,
) -> None:
    for same in (None, *ONLY[name]):
        assert read(**{name: same}) == read()

    refusal = refused(**{name: {"type": "json_object"}})
    assert name in refusal.message
    assert (refusal.code, refusal.param) == ("unsupported_parameter", name)


@pytest.mark.parametrize("name", sorted(WITHOUT_EFFECT))
def test_what_does_not_change_the_answer_is_accepted(name: str) -> None:
    assert read(**{name: {"any": ["thing"]}}) == read()


def test_a_field_that_nobody_knows_is_refused_by_name() -> None:
    refusal = refused(guided_json={})

    assert "guided_json" in refusal.message
    assert (refusal.code, refusal.param) == ("unknown_parameter", "guided_json")


@pytest.mark.parametrize("name", sorted(set(ChatRequest.__struct_fields__) - set(ASKED)))
def test_null_is_the_same_as_absent(name: str) -> None:
    assert read(**{name: None}) == read()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}] * 513}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"model": None}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"n": 0}, "n"),
        ({"n": 65}, "n"),
        ({"n": "2"}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 1025}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": "x" * 257}, "stop"),
        ({"stop": ["x" * 257]}, "stop[0]"),
        ({"chat_template_kwargs": {"date": True}}, "chat_template_kwargs"),
    ],
    ids=lambda case: str(case)[:40],
)
def test_a_value_out_of_bounds_is_refused_with_the_field(
    fields: dict[str, Any], param: str
) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize(
    ("text", "half"),
    [
        (r"ACME \ud83d", r"\ud83d at byte 64"),  # as JSON.stringify has an emoji cut in two
        (r"ACME \ud83d goes up", r"\ud83d at byte 64"),
        (r"\ud83d\ude80 \uDE80 goes up", r"\uDE80 at byte 72"),
        (r"\ud83d\u0041 goes up", r"\ud83d at byte 59"),
        (r"\\ud83d \\\ud83d\\ude80", r"\ud83d at byte 69"),  # those after two are words
    ],
)
def test_of_half_an_emoji_it_is_said_what_it_is(text: str, half: str) -> None:
    body = b'{"model": "m@0", "messages": [{"role": "user", "content": "%b"}]}' % text.encode()
    with pytest.raises(Refused) as refusal:
        read_request(body)

    assert refusal.value.code == "invalid_json"
    assert f"half a character, {half}: " in refusal.value.message


def test_what_is_cut_off_after_a_whole_emoji_has_no_half_of_one() -> None:
    with pytest.raises(Refused, match="truncated"):
        read_request(rb'{"model": "m@0", "user": "\ud83d\ude80 \\ud83d')


def test_any_whole_number_that_a_client_can_mean_is_a_seed() -> None:
    assert read(seed=-(10**40)).seed == -(10**40)


def test_text_parts_are_joined_as_the_recorder_joins_them() -> None:
    parts = [{"type": "text", "text": "Will "}, {"type": "text", "text": "ACME close higher?"}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]

    asked = read(messages=messages)

    recorded = [(one["role"], one["content"]) for one in read_messages(messages)]
    assert [(one.role, one.text) for one in asked.messages] == recorded


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}},
        {"type": "text"},
        {"type": "refusal", "refusal": "no"},
    ],
    ids=lambda part: part["type"],
)
def test_a_part_that_is_not_text_is_refused_with_its_place(part: dict[str, Any]) -> None:
    text = {"type": "text", "text": "What is this?"}
    refusal = refused(messages=[{"role": "user", "content": [text, part]}])

    assert refusal.param == "messages[0].content[1]"


def test_an_answer_may_be_sent_back_with_its_empty_fields_but_no_others() -> None:
    answer = {"role": "assistant", "content": "Yes", "refusal": None, "annotations": []}
    assert read(messages=[*ASKED["messages"], {**answer, "tool_calls": None}]).messages

    refusal = refused(messages=[{**answer, "tool_calls": [{"id": "c"}]}])
    assert refusal.param == "messages[0].tool_calls"


GARBAGE = [
    b"",
    b"word",
    b"\xff\xfe",
    b"null",
    b"[]",
    b'{"model": "m@0"',
    b'{"model": NaN}',
    b'{"model": "\\ud800"}',
    b'{"seed": 1' + b"0" * 5000 + b"}",
    *(start + b"[" * 100_000 for start in (b"", b'{"x":', b'{"user":', b'{"tools":')),
    *(start + b'{"a":' * 100_000 for start in (b"", b'{"messages":', b'{"stop":')),
    b'{"messages": [' + b"{}," * 100_000 + b"{}]}",
    b"{" + b",".join(b'"%d":0' % number for number in range(50_000)) + b"}",
]


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:16]))
def test_garbage_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        read_request(body)

    assert refusal.value.status == 400
    assert len(refusal.value.body) < 1000


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_KNOWN = st.sampled_from([*ChatRequest.__struct_fields__, *ONLY, *WITHOUT_EFFECT])


@given(st.dictionaries(_KNOWN | st.text(), _JSON, max_size=6))
def test_whatever_is_sent_is_read_or_refused(fields: dict[str, Any]) -> None:
    with suppress(Refused):
        read_request(msgspec.json.encode({**ASKED, **fields}))
