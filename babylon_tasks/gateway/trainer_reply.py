"""What the client gets of a checkpoint's answer, and whether it is fit for an exact record."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.recorder.completion import Completion, read_completion

_IDS = ("token_ids", "prompt_token_ids")


class SampleState(StrEnum):
    """Whether an answer has the ids and log-probabilities of its tokens, and else why not."""

    COMPLETE = "complete"
    MANY_ANSWERS = "several"  # answers to one question
    NO_LOGPROBS = "no_logprobs"
    NO_IDS = "no_ids"
    LENGTHS = "lengths"  # of ids, log-probabilities and usage differ
    NOT_FINITE = "not_finite"
    MALFORMED = "malformed"  # its arrays cannot be read
    SHAPED = "shaped"  # by parameters of the request: they are not those of the policy itself


def read_sample(reply: dict[str, Any]) -> tuple[SampleState, Completion]:
    """Read an answer as its server sent it; arrays that cannot be read cost only themselves.

    Of several answers this is the first. Raises LookupError, TypeError, ValueError or
    AttributeError for what is no answer at all.
    """
    reply = _with_engine_data(reply)
    try:
        found = read_completion(reply)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        first = {name: reply["choices"][0].get(name) for name in ("message", "finish_reason")}
        return SampleState.MALFORMED, read_completion({"choices": [first]})
    return _state(reply, found), found


def _with_engine_data(reply: dict[str, Any]) -> dict[str, Any]:
    """Take ids and log-probabilities from Dynamo's ``nvext``, both or neither.

    Those beside the choice may be of other tokens: a stop token more or less.
    """
    extension = reply.get("nvext")
    data = extension.get("engine_data") if isinstance(extension, dict) else None
    if not isinstance(data, dict):
        return reply
    ids, logprobs = data.get("completion_token_ids"), data.get("completion_logprobs")
    if not isinstance(ids, list) or not isinstance(logprobs, list):
        return reply
    content = [{"token": "", "logprob": one} for one in logprobs]
    choice = {**reply["choices"][0], "token_ids": ids, "logprobs": {"content": content}}
    return {**reply, "choices": [choice, *reply["choices"][1:]]}


def _state(reply: dict[str, Any], found: Completion) -> SampleState:
    if len(reply["choices"]) != 1:
        return SampleState.MANY_ANSWERS
    if not found.logprobs:
        return SampleState.NO_LOGPROBS
    if not (math.isfinite(sum(found.logprobs)) and max(found.logprobs) <= 0):
        return SampleState.NOT_FINITE
    beside = reply["choices"][0].get("token_ids")
    if beside is not None and len(beside) != len(found.logprobs):
        return SampleState.LENGTHS
    if found.token_ids is None:
        return SampleState.NO_IDS
    if found.completion_tokens not in (None, len(found.token_ids)):
        return SampleState.LENGTHS
    return SampleState.COMPLETE


def for_client(
    reply: dict[str, Any], asked: GatewayRequest, *, answer_id: str, name: str
) -> dict[str, Any]:
    """Take out what the client did not ask for.

    ``model`` names the checkpoint that answered, and so does ``system_fingerprint``: some clients
    show the model that they asked for instead of ``model``, but keep the fingerprint.
    """
    wants_ids = asked.value("return_token_ids") is True
    wants_logprobs = asked.value("logprobs") is True
    choices = []
    for place, choice in enumerate(reply["choices"]):
        kept = {field: value for field, value in choice.items() if wants_ids or field not in _IDS}
        kept.setdefault("index", place)
        if not wants_logprobs:
            kept["logprobs"] = None
        choices.append(kept)
    top = {
        field: value
        for field, value in reply.items()
        if (wants_ids or field not in _IDS) and (field != "nvext" or asked.given("nvext"))
    }
    return {**top, "id": answer_id, "model": name, "system_fingerprint": name, "choices": choices}
