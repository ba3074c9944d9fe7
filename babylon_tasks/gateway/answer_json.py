"""Decode a checkpoint's answer: most of it is what the client has not asked for, and some not kept.

That is log-probabilities, of whose fields only those that are kept become objects: a sixth of the
time of decoding them all. And the ids of the prompt's tokens, which are as many as all the rest.
"""

from __future__ import annotations

from typing import Any, TypedDict

import msgspec
from msgspec import Raw

from babylon_tasks.gateway.request import GatewayRequest


class _Token(TypedDict, total=False):
    token: Any
    logprob: Any
    id: Any  # llama.cpp


class _Logprobs(TypedDict, total=False):
    content: list[_Token] | None


class _EngineData(TypedDict, total=False):
    completion_token_ids: Any
    completion_logprobs: Any


class _Extension(TypedDict, total=False):
    engine_data: _EngineData | None


_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_CHOICES = msgspec.json.Decoder(list[dict[str, Raw]])
_PROMPT_IDS = "prompt_token_ids"
# By a field's name; None: it is left out.
_Decoders = dict[str, msgspec.json.Decoder[Any] | None]
_ANY = msgspec.json.Decoder()
_LOGPROBS = msgspec.json.Decoder(_Logprobs | None)
_EXTENSION = msgspec.json.Decoder(_Extension | None)


def decoded(content: bytes, asked: GatewayRequest, *, prompt_ids: bool = False) -> dict[str, Any]:
    """Decode an answer; raises MsgspecError for what is no JSON object.

    Without ``prompt_ids`` those of the prompt's tokens are left out, unless the client asked for
    them, or there is no usage to say how many they are.
    """
    decoders: _Decoders = {}
    if asked.value("logprobs") is not True:
        decoders["logprobs"] = _LOGPROBS
    try:
        fields = _FIELDS.decode(content)
        prompt_ids |= asked.value("return_token_ids") is True or asked.given("nvext")
        if not prompt_ids and _is_counted(fields):
            decoders |= {"nvext": _EXTENSION, _PROMPT_IDS: None}
        choices = [_read(one, decoders) for one in _CHOICES.decode(fields.pop("choices"))]
        return {**_read(fields, decoders), "choices": choices}
    except (msgspec.ValidationError, KeyError):
        pass  # of an unknown form; whoever reads it reports that
    return msgspec.json.decode(content, type=dict[str, Any])


def _is_counted(fields: dict[str, Raw]) -> bool:
    usage = _ANY.decode(fields.get("usage", b"null"))
    return isinstance(usage, dict) and bool(usage.get("prompt_tokens"))


def _read(fields: dict[str, Raw], decoders: _Decoders) -> dict[str, Any]:
    chosen = ((name, value, decoders.get(name, _ANY)) for name, value in fields.items())
    return {name: decoder.decode(value) for name, value, decoder in chosen if decoder}
