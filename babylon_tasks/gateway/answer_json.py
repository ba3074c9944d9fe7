"""Decode a checkpoint's answer: most of it is log-probabilities that the client has not asked for.

Only those of their fields that are kept become objects: a sixth of the time of decoding them all.
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


_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_CHOICES = msgspec.json.Decoder(list[dict[str, Raw]])
_LOGPROBS = msgspec.json.Decoder(_Logprobs | None)


def decoded(content: bytes, asked: GatewayRequest) -> dict[str, Any]:
    """Decode an answer; raises MsgspecError for what is no JSON object."""
    if asked.value("logprobs") is not True:
        try:
            fields = _FIELDS.decode(content)
            choices = _CHOICES.decode(fields["choices"])
            return {
                name: [_choice(one) for one in choices]
                if name == "choices"
                else msgspec.json.decode(value)
                for name, value in fields.items()
            }
        except (msgspec.ValidationError, KeyError):
            pass  # of an unknown form; whoever reads it reports that
    return msgspec.json.decode(content, type=dict[str, Any])


def _choice(fields: dict[str, Raw]) -> dict[str, Any]:
    return {
        name: _LOGPROBS.decode(value) if name == "logprobs" else msgspec.json.decode(value)
        for name, value in fields.items()
    }
