"""What a recorded call's messages become, and what they cannot hold."""

from __future__ import annotations

from typing import Any

import pytest
from raw_rows import one_call


def test_an_absent_system_prompt_that_was_written_as_an_empty_one_is_absent() -> None:
    assert one_call(systemPrompt="", userPrompt="u").messages == (("user", "u"),)


def test_an_empty_system_message_that_was_sent_is_kept() -> None:
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": "u"}]
    assert one_call(messages=messages).messages == (("system", ""), ("user", "u"))


TOOL_CALL = {"id": "c-1", "type": "function", "function": {"name": "buy", "arguments": "{}"}}
CALLED = {"type": "tool-call", "toolName": "buy", "text": "buys"}
THOUGHT = {"type": "reasoning", "text": "think"}
PICTURE = {"type": "image_url", "image_url": {"url": "https://pictures.example/1.png"}}


@pytest.mark.parametrize(
    ("keys", "carries"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": []}, None),
        ({"functions": [{"name": "buy"}]}, "tools"),
        ({"tool_calls": [TOOL_CALL]}, "tools"),
        ({"function_call": {"name": "buy", "arguments": "{}"}}, "tools"),
        ({"functionCall": {"name": "buy", "arguments": "{}"}}, "tools"),
        ({"functions": [], "function_call": "none", "tool_calls": None}, None),
        ({"toolCalls": [TOOL_CALL]}, "tools"),
        ({"finishReason": "tool-calls"}, "tools"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [TOOL_CALL]}]}, "tools"),
        ({"messages": [{"role": "tool", "content": "3"}]}, "tools"),
        ({"messages": [{"role": "user", "content": "?", "functionCall": {"name": "a"}}]}, "tools"),
        ({"messages": [{"role": "assistant", "content": [CALLED]}]}, "tools"),
        ({"messages": [{"role": "assistant", "content": [THOUGHT]}]}, "images"),
        ({"messages": [{"role": "user", "content": [{"type": "input_text", "text": "?"}]}]}, None),
        ({"messages": [{"role": "user", "content": [{"text": "?"}]}]}, None),
        ({"messages": [{"role": "user", "content": [{"type": 7, "text": "?"}]}]}, "images"),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "images"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}]}]}, None),
        ({"carries": "images"}, "images"),
        ({"carries": "apples"}, None),
    ],
)
def test_what_the_messages_cannot_hold_is_named(keys: dict[str, Any], carries: str | None) -> None:
    assert one_call(**keys).carries == carries


def test_parts_of_text_become_one_text() -> None:
    parts = [{"type": "text", "text": "YES "}, PICTURE, THOUGHT, {"type": "text", "text": "or NO?"}]
    assert one_call(messages=[{"role": "user", "content": parts}]).messages == (
        ("user", "YES or NO?"),
    )
