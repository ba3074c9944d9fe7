"""What a checkpoint's server is asked: the client's request, and what exact records need.

Nothing of it is changed but the model's name, the way of its answer (a stream is made here, because
servers lose ids in theirs), a budget that the server refuses, and the temperature where a setting
says which.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw

from babylon_tasks.gateway.profiles import Profile
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.http_server.refusals import Refused
from babylon_tasks.shaped_sampling import HARMLESS, shaping

_OURS = ("stream", "stream_options")
# Absent ones would be filled from the server's generation config, unseen.
_EXPLICIT = {"temperature": Raw(b"1"), "top_p": Raw(b"1"), "top_logprobs": Raw(b"0")}
_REMOVED = ("logprobs", "return_token_ids")  # from the answer, where the client did not ask
_BUDGETS = ("max_completion_tokens", "max_tokens")
_MARGIN = 8  # tokens: counts of a prompt in an error's text may leave out the template's last ones
_OWN_LIMIT = re.compile(r"max_(?:completion_)?tokens: Expected `int` <= (\d{1,9})")
_CONTEXT = re.compile(r"maximum context length (?:is|of) (\d{1,9})")
_PROMPT = re.compile(
    r"(\d{1,9}) (?:input tokens|in the messages)|(?:at least|prompt contains) (\d{1,9})"
)


def for_checkpoint(asked: GatewayRequest, temperature: float | None) -> GatewayRequest:
    """Choose the temperature at which a checkpoint is asked; None: the client's own.

    Who asks for log-probabilities records for itself how it was sampled, and would not know of
    another temperature than its own: it keeps that.
    """
    if temperature is None or asked.value("logprobs") is True:
        return asked
    return asked.changed(temperature=temperature)


def within_budget(asked: GatewayRequest, most: int) -> GatewayRequest:
    """Ask for at most so many tokens, the largest budget of an answer that the server takes."""
    budgets = {name: asked.value(name) for name in _BUDGETS}
    too_large = {
        name: most for name, budget in budgets.items() if isinstance(budget, int) and budget > most
    }
    return asked.changed(**too_large) if too_large else asked


def trainer_body(asked: GatewayRequest, model: str, profile: Profile) -> bytes:
    """Write the body."""
    fields: dict[str, Any] = {
        name: value
        for name, value in asked.fields.items()
        if name not in _OURS and (asked.given(name) or name not in _EXPLICIT)
    }
    added = {name: value for name, value in profile.asks.items() if _may_add(asked, name, value)}
    body = {**_EXPLICIT, **fields, "model": model, **added}
    if "logprobs" not in added and not asked.given("logprobs") and not asked.given("top_logprobs"):
        del body["top_logprobs"]  # one says nothing without the other, and some servers refuse it
    return msgspec.json.encode(body)


def _may_add(asked: GatewayRequest, name: str, value: Any) -> bool:
    """Check that the client gets no other answer for it than it asked for.

    What it did not ask for is taken out of the answer, but for the names of tokens in its own
    log-probabilities.
    """
    if name == "return_tokens_as_token_ids" and value is True and asked.value("logprobs") is True:
        return False
    return name in _REMOVED or not asked.given(name)


def shaped(asked: GatewayRequest) -> bool:
    """Check whether a parameter makes the sample another than log-probabilities show.

    One that cannot be read, such as 1e999, is not known to be harmless.
    """
    try:
        fields = {name: asked.value(name) for name in asked.fields if name not in HARMLESS}
    except Refused:
        return True
    return bool(shaping(fields))


def smaller_budget(asked: GatewayRequest, refusal: str) -> int | None:
    """Read in a server's refusal how many tokens an answer may have; None if that is no remedy.

    A refusal has generated nothing, so the request may be repeated with that budget. Understood
    are our own server's and vLLM's.
    """
    budget = next((asked.value(name) for name in _BUDGETS if asked.given(name)), None)
    if not isinstance(budget, int):
        return None
    own, context, prompt = (one.search(refusal) for one in (_OWN_LIMIT, _CONTEXT, _PROMPT))
    if own:
        left = int(own[1])
    elif context and prompt:
        left = int(context[1]) - int(prompt[1] or prompt[2]) - _MARGIN
    else:
        return None
    return left if 0 < left < budget else None


def is_fixed(refusal: str) -> bool:
    """Check whether the limit is the same for each prompt, and so can be remembered."""
    return _OWN_LIMIT.search(refusal) is not None
