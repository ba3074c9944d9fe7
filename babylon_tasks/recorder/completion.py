"""Read an OpenAI chat completion by duck typing: objects, or the same as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from babylon_tasks.message_parts import carried_by, is_text

_OPTIONS = ("extra_body", "extra_headers", "extra_query", "timeout")  # of OpenAI's client
_TOKEN_ID = re.compile(r"token_id:(\d{1,9})\Z")  # vLLM with return_tokens_as_token_ids, ART


class Completion(Struct, frozen=True):
    """One answer, with the ids, texts and bytes of its tokens as the server reported them."""

    model: str
    response: str
    reasoning: str | None = None
    logprobs: tuple[float, ...] | None = None
    tokens: tuple[str, ...] | None = None
    token_bytes: tuple[Sequence[int] | None, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tool_calls: tuple[Any, ...] = ()
    prompt_ids: tuple[int, ...] | None = None


def read_completion(completion: Any, index: int = 0) -> Completion:
    """Choice ``index`` of a ChatCompletion; raises LookupError or TypeError on anything else."""
    choices = _get(completion, "choices")
    if not choices:
        raise LookupError("the completion has no choices")
    choice = choices[index]
    message = _get(choice, "message")
    usage = _get(completion, "usage")
    # NVIDIA Dynamo's, of W&B's servers: of the whole answer, so of one choice.
    engine = _get(_get(completion, "nvext"), "engine_data") if len(choices) == 1 else None
    tokens = _tokens(choice, engine)
    prompt = (
        _get(completion, "prompt_token_ids")
        or _get(choice, "prompt_token_ids")
        or _get(engine, "prompt_token_ids")
    )
    return Completion(
        model=str(_get(completion, "model") or ""),
        response=_text(_get(message, "content")),
        reasoning=_get(message, "reasoning_content") or _get(message, "reasoning"),
        logprobs=tokens.logprobs,
        tokens=tokens.texts,
        token_bytes=tokens.data,
        token_ids=tokens.ids,
        finish_reason=_get(choice, "finish_reason"),
        prompt_tokens=_get(usage, "prompt_tokens") or (len(prompt) if prompt else None),
        # For several answers the server reports only their sum.
        completion_tokens=_get(usage, "completion_tokens") if len(choices) == 1 else None,
        tool_calls=tuple(map(plain, _get(message, "tool_calls") or ())),
        prompt_ids=tuple(map(int, prompt)) if prompt else None,
    )


class _Tokens(Struct, frozen=True):
    logprobs: tuple[float, ...] | None
    ids: tuple[int, ...] | None
    texts: tuple[str, ...] | None
    data: tuple[Sequence[int] | None, ...] | None


def _tokens(choice: Any, engine: Any) -> _Tokens:
    """Read a choice's tokens in the form of vLLM, ART's servers, W&B's, llama.cpp or OpenAI."""
    for sampled, scored in (
        (_get(engine, "completion_token_ids"), _get(engine, "completion_logprobs")),
        (_get(choice, "token_ids"), _get(choice, "compact_logprobs")),
    ):
        # Both, of the same tokens; what else there is may be of a stop token more or less.
        if sampled and scored and len(sampled) == len(scored):
            return _Tokens(tuple(map(float, scored)), tuple(map(int, sampled)), None, None)
    beside = _get(choice, "token_ids") or _get(choice, "tokenIds")
    ids = None if beside is None else tuple(map(int, beside))
    entries = _get(_get(choice, "logprobs"), "content")
    if not entries:
        return _Tokens(None, ids, None, None)
    texts = tuple(map(str, _each(entries, "token")))
    logprobs = tuple(map(float, _each(entries, "logprob")))
    data = _each(entries, "bytes")
    in_place: tuple[int, ...] = ()
    if _TOKEN_ID.match(texts[0]):  # a server writes all of them so, or none
        in_place = tuple(int(match[1]) for text in texts if (match := _TOKEN_ID.match(text)))
    by_entry = _each(entries, "id")  # llama.cpp
    for named in (in_place, by_entry):
        if len(named) == len(logprobs) and None not in named:
            if ids is not None and ids != named:
                return _Tokens(logprobs, None, None, None)  # they contradict each other
            ids = named
    if ids is not None and len(ids) != len(logprobs):
        ids = None  # not the same tokens: the ids would be wrong for the logprobs
    return _Tokens(
        logprobs,
        ids,
        None if in_place else texts,
        None if data.count(None) == len(data) else data,
    )


def read_messages(messages: Iterable[Any]) -> list[dict[str, Any]]:
    """Read messages as role and text, with the tool calls that belong to them.

    Text parts are joined; ``carried`` reports the others.
    """
    read = []
    for message in messages:
        message_read: dict[str, Any] = {
            "role": str(_get(message, "role")),
            "content": _text(_get(message, "content")),
        }
        calls = _get(message, "tool_calls")
        if calls:
            message_read["tool_calls"] = [plain(call) for call in calls]
        if _get(message, "tool_call_id") is not None:
            message_read["tool_call_id"] = str(_get(message, "tool_call_id"))
        read.append(message_read)
    return read


def carried(messages: Iterable[Any]) -> str | None:
    """Name what messages contain besides text: ``tools`` or ``images``."""
    kind = None
    for message in messages:
        called = _get(message, "tool_calls") or _get(message, "function_call")
        if called or str(_get(message, "role")) in ("tool", "function"):
            return "tools"
        content = _get(message, "content")
        for part in () if isinstance(content, str | None) else content:
            # An image, audio, a thought: none of them is text, so they are all reported alike.
            if not is_text(_get(part, "type"), _get(part, "text")):
                kind = carried_by(_get(part, "type"))
                if kind == "tools":
                    return kind
    return kind


def request_body(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Make of the keywords of a request with OpenAI's client the fields that a server gets."""
    fields = {name: value for name, value in keywords.items() if name not in _OPTIONS}
    return fields | dict(keywords.get("extra_body") or {})


def plain(value: Any) -> Any:
    """Convert pydantic models, such as OpenAI's, to plain JSON values."""
    dump = getattr(value, "model_dump", None)
    return dump(exclude_none=True) if callable(dump) else value


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = ((_get(part, "type"), _get(part, "text")) for part in content)
    return "".join([text for kind, text in parts if is_text(kind, text)])


def _each(sources: Sequence[Any], name: str) -> tuple[Any, ...]:
    """Read a field of each: an answer has hundreds, and JSON's are read without a call for each."""
    try:
        return tuple([one.get(name) for one in sources])
    except AttributeError:
        return tuple([_get(one, name) for one in sources])


def _get(source: Any, name: str) -> Any:
    # The first of the two is what JSON gives, and takes a third of the time of the second.
    if isinstance(source, dict) or isinstance(source, Mapping):  # noqa: SIM101
        return source.get(name)
    return getattr(source, name, None)
