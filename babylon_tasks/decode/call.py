"""Decode one LLM call from its record.

Agents record tokens as their server reported them: log-probabilities as numbers or as OpenAI's
objects, ids beside them or in place of the tokens' text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, field

from babylon_tasks.decode.errors import Undecodable
from babylon_tasks.decode.shaped_call import ShapingKeys, is_shaped
from babylon_tasks.decode.token_ids import NONE, count_ids, read_ids
from babylon_tasks.message_parts import carried_by, is_text
from babylon_tasks.policy_names import policy_step
from babylon_tasks.reasons import Reason
from babylon_tasks.records import LlmCall, TokenIds
from babylon_tasks.vocabulary import kind

# A log-probability is never positive; servers round, so a tiny positive one is accepted.
LOGPROB_ROUNDING = 1e-3
_TOKEN_ID = re.compile(r"token_id:(\d{1,9})\Z")  # from vLLM and ART's servers, in place of the text
_OF_TOOLS = ("tool_calls", "function_call")


class _Part(Struct, gc=False):
    type: Any = None
    text: Any = None


class _Message(Struct, gc=False):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: Any = None
    toolCalls: Any = None
    function_call: Any = None
    functionCall: Any = None


class TokenLogprob(Struct, gc=False):
    logprob: float | None
    token: str | None = None
    bytes: list[int] | None = None
    id: int | None = None  # from llama.cpp's server


class _Logprobs(Struct, gc=False):
    """OpenAI's object around the list."""

    content: list[TokenLogprob] | None = None


class Call(ShapingKeys, gc=False):
    """The keys of a recorded call that are read."""

    response: str
    model: str | None = None
    systemPrompt: str | None = None
    userPrompt: str | None = None
    messages: list[_Message] | None = None
    temperature: float | None = None
    maxTokens: Any = None
    logprobs: list[float | TokenLogprob | None] | _Logprobs | None = None
    tokenIds: msgspec.Raw = NONE
    token_ids: msgspec.Raw = NONE
    promptTokenIds: msgspec.Raw = NONE
    policyStep: int | None = None
    topP: float | None = None
    top_p: float | None = None
    finishReason: Any = None
    promptTokens: Any = None
    completionTokens: Any = None
    callId: Any = None
    purpose: Any = None
    actionType: Any = None
    tools: Any = None
    toolCalls: Any = None
    tool_calls: Any = None
    functions: Any = None
    function_call: Any = None
    functionCall: Any = None
    carries: Any = None


class _SampledTokens(Struct, frozen=True):
    """The record of the sampled tokens."""

    logprobs: tuple[float, ...] | None = None
    ids: TokenIds | None = None
    texts: tuple[str, ...] | None = None
    data: tuple[bytes, ...] | None = field(default=None)


def read_call(call: Call, step: int, done: str = "") -> LlmCall:
    """Decode a call whose ids are checked; ``done`` is its step's action. Raises Undecodable."""
    model = call.model or ""
    policy = call.policyStep
    if policy is None:
        policy = policy_step(model)
    finish = _finish_reason(call.finishReason)
    sampled = _sampled_tokens(call, step)
    top_p = call.top_p if call.topP is None else call.topP
    return LlmCall(
        model=model,
        messages=read_messages(call, step),
        response=call.response,
        temperature=1.0 if call.temperature is None else call.temperature,
        policy_step=policy if policy is None or policy >= 0 else None,
        logprobs=sampled.logprobs,
        token_ids=sampled.ids,
        tokens=sampled.texts,
        token_bytes=sampled.data,
        top_p=1.0 if top_p is None else top_p,
        finish_reason=finish,
        prompt_tokens=_count(call.promptTokens),
        completion_tokens=_count(call.completionTokens),
        purpose=read_purpose(call, done),
        carries=_carried(call, finish),
        prompt_ids=read_ids(call.promptTokenIds) or None,
        shaped=True if is_shaped(call) else UNSET,
    )


def ids_beside(call: Call) -> TokenIds | None:
    """Read the ids beside the answer; raises ValueError."""
    ids = read_ids(call.tokenIds)
    return read_ids(call.token_ids) if ids is None else ids


def count_all_ids(call: Call) -> int | None:
    """Count ``ids_beside``; raises ValueError where anything in a list of ids is none."""
    if call.tokenIds is NONE and call.token_ids is NONE and call.promptTokenIds is NONE:
        return None  # as most calls: asked without a call of a function
    beside, other = count_ids(call.tokenIds), count_ids(call.token_ids)
    count_ids(call.promptTokenIds)
    return other if beside is None else beside


def check_ids(calls: Sequence[Call], step: int) -> None:
    """Raise Undecodable where a call's ids are not whole numbers."""
    for call in calls:
        try:
            count_all_ids(call)
        except ValueError as error:
            raise Undecodable(Reason.BAD_SHAPE, f"step {step}: token ids: {error}") from None


def read_messages(call: Call, step: int) -> tuple[tuple[str, str], ...]:
    """Read what was asked: without the answer, which some agents record at its end."""
    if call.messages:
        chat = [(message.role, _text(message.content)) for message in call.messages]
        role, text = chat[-1]
        if role == "assistant" and text.strip() and text.strip() == call.response.strip():
            chat.pop()
        if chat:
            return tuple(chat)
    if call.systemPrompt is None or call.userPrompt is None:
        raise Undecodable(
            Reason.BAD_SHAPE, f"step {step}: a call has neither messages nor both prompts"
        )
    asked = ("user", call.userPrompt)
    # Babylon's column is never null: a missing system prompt is written as an empty one.
    return (("system", call.systemPrompt), asked) if call.systemPrompt else (asked,)


def _text(content: str | list[_Part] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join([part.text for part in content if is_text(part.type, part.text)])


def _carried(call: Call, finish: str | None) -> str | None:
    """Name what the messages and the answer contain beside text."""
    messages = call.messages or ()
    if (
        call.tools
        or call.toolCalls
        or call.tool_calls
        or call.functions
        # Of a request it is a word such as "none", which says nothing without functions.
        or any(made and type(made) is not str for made in (call.function_call, call.functionCall))
        or finish in _OF_TOOLS
        or any(m.tool_calls or m.toolCalls or m.function_call or m.functionCall for m in messages)
        or any(m.role in ("tool", "function") for m in messages)
    ):
        return "tools"
    parts = [part for m in messages if isinstance(m.content, list) for part in m.content]
    kinds = {carried_by(part.type) for part in parts if not is_text(part.type, part.text)}
    if call.carries in ("tools", "images"):
        kinds.add(call.carries)
    if not kinds:
        return None
    return "tools" if "tools" in kinds else "images"


def _finish_reason(recorded: Any) -> str | None:
    # The AI SDK writes tool-calls where OpenAI writes tool_calls.
    return recorded.replace("-", "_") if isinstance(recorded, str) and recorded else None


def _count(recorded: Any) -> int | None:
    # Writers without a count write 0.
    return recorded if type(recorded) is int and recorded > 0 else None


def read_purpose(call: Call, done: str) -> str:
    """Find the kind of question; an ``actionType`` that names an action was made from the answer.

    So was an unknown one that equals the step's own action.
    """
    asked = call.actionType
    if isinstance(asked, str) and asked and not kind(asked).known and not _same(asked, done):
        return asked
    return call.purpose if isinstance(call.purpose, str) else ""


def _same(word: str, other: str) -> bool:
    return word.strip().lower() == other.strip().lower()


def _sampled_tokens(call: Call, step: int) -> _SampledTokens:
    ids = ids_beside(call)
    recorded = call.logprobs
    entries: Sequence[Any] | None = (
        recorded.content if isinstance(recorded, _Logprobs) else recorded
    )
    if entries is None:
        return _SampledTokens(ids=ids)
    values: Sequence[Any] = entries
    named: TokenIds | None = None
    texts: tuple[str, ...] | None = None
    data: tuple[bytes, ...] | None = None
    if entries and isinstance(entries[0], TokenLogprob):
        if not all(isinstance(entry, TokenLogprob) for entry in entries):
            raise Undecodable(Reason.BAD_LOGPROBS, f"step {step}: logprobs mix numbers and objects")
        values = [entry.logprob for entry in entries]
        named, texts = named_ids(entries)
        data = _bytes(entries, step)
    logprobs = _logprobs(values, step)
    if ids is not None and len(ids) != len(logprobs):
        raise Undecodable(
            Reason.BAD_LOGPROBS, f"step {step}: {len(logprobs)} logprobs for {len(ids)} tokenIds"
        )
    if ids is not None and named is not None and ids != named:
        raise Undecodable(
            Reason.BAD_LOGPROBS, f"step {step}: logprobs and tokenIds name different tokens"
        )
    return _SampledTokens(logprobs, ids or named, texts, data)


def _logprobs(values: Sequence[Any], step: int) -> tuple[float, ...]:
    if None in values:  # JSON.stringify writes NaN and Infinity as null
        raise Undecodable(Reason.NOT_FINITE, f"step {step}: logprob {values.index(None)} is null")
    try:
        highest = max(values, default=0.0)
    except TypeError:
        raise Undecodable(
            Reason.BAD_LOGPROBS, f"step {step}: logprobs mix numbers and objects"
        ) from None
    if highest > LOGPROB_ROUNDING:
        number = values.index(highest)
        raise Undecodable(Reason.BAD_LOGPROBS, f"step {step}: logprob {number} is {highest} > 0")
    return tuple([min(value, 0.0) for value in values] if highest > 0 else values)


def named_ids(entries: Sequence[TokenLogprob]) -> tuple[TokenIds | None, tuple[str, ...] | None]:
    """Return ids where every token has one, else the texts where every token has one."""
    ids = [entry.id for entry in entries]
    if None not in ids:
        return tuple(ids), None  # type: ignore[arg-type]
    texts = [entry.token for entry in entries]
    if None in texts:
        return None, None
    named = [_TOKEN_ID.match(text) for text in texts]  # type: ignore[arg-type]
    if all(named):
        return tuple(int(match[1]) for match in named if match), None
    return None, tuple(texts)  # type: ignore[arg-type]


def _bytes(entries: Sequence[TokenLogprob], step: int) -> tuple[bytes, ...] | None:
    if all(entry.bytes is None for entry in entries):
        return None
    try:
        return tuple(bytes(entry.bytes or ()) for entry in entries)
    except ValueError:
        raise Undecodable(
            Reason.BAD_LOGPROBS, f"step {step}: the bytes of a token are not bytes"
        ) from None
