"""What an OpenAI chat completion says, read by duck typing: objects or the same as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

_TOKEN_ID = re.compile(r"token_id:(\d+)\Z")  # vLLM with return_tokens_as_token_ids
_POLICY = re.compile(r"@(\d{1,9})\Z")


class Completion(Struct, frozen=True):
    """One answer; ``tokens`` only where they are text, ``token_ids`` only where they are known."""

    model: str
    response: str
    reasoning: str | None = None
    logprobs: tuple[float, ...] | None = None
    tokens: tuple[str, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def read_completion(completion: Any, index: int = 0) -> Completion:
    """Choice ``index`` of a ChatCompletion; raises LookupError or TypeError on anything else."""
    choices = _get(completion, "choices")
    if not choices:
        raise LookupError("the completion has no choices")
    choice = choices[index]
    message = _get(choice, "message")
    usage = _get(completion, "usage")
    entries = _get(_get(choice, "logprobs"), "content")
    logprobs = tokens = None
    token_ids = _get(choice, "token_ids")
    if entries:
        logprobs = tuple(float(_get(entry, "logprob")) for entry in entries)
        words = [str(_get(entry, "token")) for entry in entries]
        named = [_TOKEN_ID.match(word) for word in words]
        if all(named):
            token_ids = token_ids or [int(match[1]) for match in named if match]
        else:
            tokens = tuple(words)
    if token_ids is not None and logprobs is not None and len(token_ids) != len(logprobs):
        token_ids = None  # not the same tokens: the ids would be wrong for the logprobs
    return Completion(
        model=str(_get(completion, "model") or ""),
        response=_get(message, "content") or "",
        reasoning=_get(message, "reasoning_content") or _get(message, "reasoning"),
        logprobs=logprobs,
        tokens=tokens,
        token_ids=None if token_ids is None else tuple(int(token) for token in token_ids),
        prompt_tokens=_get(usage, "prompt_tokens"),
        completion_tokens=_get(usage, "completion_tokens"),
    )


def read_messages(messages: Iterable[Any]) -> list[dict[str, str]]:
    """Messages as role and text; several parts of text become one, other parts have no place."""
    return [
        {"role": str(_get(message, "role")), "content": _text(_get(message, "content"))}
        for message in messages
    ]


def policy_step(model: str) -> int | None:
    """The checkpoint in a model name such as ``babylon@12``."""
    named = _POLICY.search(model)
    return int(named[1]) if named else None


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(str(_get(part, "text") or "") for part in content)


def _get(holder: Any, name: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)
