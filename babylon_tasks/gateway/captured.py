"""What is kept of an answer: how it was sampled, and the hashes of its texts, not the texts.

Of another server's that is who gave it, and no ids.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from babylon_tasks import tracing
from babylon_tasks.arms import Arm
from babylon_tasks.dataset.packed_tokens import IDS, LOGPROBS, packed
from babylon_tasks.dataset.text_hashes import text_hashes
from babylon_tasks.db.calls import CapturedCall
from babylon_tasks.gateway.asker import Asker
from babylon_tasks.gateway.passed_answer import read_passed
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.trainer_body import shaped
from babylon_tasks.gateway.trainer_reply import SampleState
from babylon_tasks.policy_names import policy_step
from babylon_tasks.recorder.completion import Completion, read_messages
from babylon_tasks.shaped_sampling import KNOWN
from babylon_tasks.windows import window_id

_SCALARS = ("max_tokens", "max_completion_tokens", "n", "seed", "temperature", "top_p")
PASSED_ON = "passed_on"  # in place of a sample's state
_FINISH = 40  # the most characters of a finish reason, and of a parameter's name
_OTHERS = 100  # the most names of parameters
_INT4 = 2**31 - 1
_DRAWN = 2**16  # by the last bits of an id, which is random


class Answered(Struct, frozen=True, kw_only=True):
    """An answer, and what is known of its request; ``size``: the bytes of both in memory."""

    capture_id: UUID
    asked_at: datetime
    asked: GatewayRequest
    asker: Asker
    client: str
    latency_ms: int
    size: int
    arm: Arm | None = None
    caller: str | None = None  # the header traceparent


class Sampled(Answered, frozen=True, kw_only=True):
    """A checkpoint's, as it was sampled; with ``keep_prompt_ids`` the prompt's ids are kept too."""

    policy: str
    found: Completion
    state: SampleState
    keep_prompt_ids: bool = False


class PassedOn(Answered, frozen=True, kw_only=True):
    """Another server's, as it was passed on: bytes that nobody has read yet."""

    lineage: str
    server: str
    model: str
    content: bytes


def captured(answered: Sampled | PassedOn) -> CapturedCall:
    """Pack an answer; raises LookupError, TypeError, ValueError, AttributeError or MsgspecError for
    one whose texts cannot be read.
    """
    asked = answered.asked
    if isinstance(answered, Sampled):
        found, how = answered.found, _sampled(answered)
    else:
        found = read_passed(answered.content, streamed=asked.stream)
        how = _passed_on(answered)
    messages = [(one["role"], one["content"]) for one in read_messages(asked.value("messages"))]
    hashes = text_hashes(messages, found.response)
    return CapturedCall(
        capture_id=answered.capture_id,
        asked_at=answered.asked_at,
        window_id=window_id(answered.asked_at),
        agent=answered.asker.agent,
        agent_source=answered.asker.source,
        client=answered.client,
        system_hash=hashes.system,
        user_hash=hashes.user,
        answer_hash=hashes.answer,
        finish_reason=None if found.finish_reason is None else str(found.finish_reason)[:_FINISH],
        prompt_tokens=_count(found.prompt_tokens),
        completion_tokens=_count(found.completion_tokens),
        latency_ms=min(answered.latency_ms, _INT4),
        arm=answered.arm,
        **how,
    )


def trace_call(answered: Sampled | PassedOn, share: float) -> None:
    """Record the call itself, of a share of them: an hour may have more than a trace can show."""
    if answered.capture_id.int % _DRAWN >= share * _DRAWN:
        return
    tracing.record(
        tracing.Span.CALL,
        [window_id(answered.asked_at)],
        began=answered.asked_at,
        ended=answered.asked_at + timedelta(milliseconds=answered.latency_ms),
        caller=answered.caller,
        capture=str(answered.capture_id),
        agent=answered.asker.agent,
        client=answered.client,
        answered_by=answered.policy if isinstance(answered, Sampled) else answered.model,
    )


def _sampled(answered: Sampled) -> dict[str, Any]:
    found, state = answered.found, answered.state
    if state is SampleState.COMPLETE and shaped(answered.asked):
        state = SampleState.SHAPED
    exact = state in (SampleState.COMPLETE, SampleState.SHAPED)
    sampling = _parameters(answered.asked)
    for name in ("temperature", "top_p"):
        sampling.setdefault(name, 1)  # as the checkpoint's server is asked
    if exact and answered.keep_prompt_ids and found.prompt_ids:
        sampling["prompt_ids"] = packed(IDS, found.prompt_ids)  # msgspec writes bytes in base64
    return {
        "lineage": answered.policy.rpartition("@")[0],
        "step": policy_step(answered.policy) or 0,
        "sample_state": state,
        "token_ids": packed(IDS, found.token_ids) if exact else None,
        "logprobs": packed(LOGPROBS, found.logprobs) if exact else None,
        "sampling": msgspec.json.encode(sampling).decode(),
    }


def _passed_on(answered: PassedOn) -> dict[str, Any]:
    return {
        "lineage": answered.lineage,
        "step": None,
        "server": answered.server,
        "model": answered.model,
        "sample_state": PASSED_ON,
        "token_ids": None,
        "logprobs": None,
        "sampling": msgspec.json.encode(_parameters(answered.asked)).decode(),
    }


def _parameters(asked: GatewayRequest) -> dict[str, Any]:
    """Choose the request's numbers, None for what should be one; of its other parameters the names.

    Bounded, for a request may have anything: those that matter to us come first.
    """
    given = {name: asked.value(name) for name in _SCALARS if asked.given(name)}
    written: dict[str, Any] = {
        name: value if type(value) in (int, float) else None for name, value in given.items()
    }
    others = [name for name in asked.fields if asked.given(name) and name not in written]
    others = sorted(sorted(others, key=lambda name: (name not in KNOWN, name))[:_OTHERS])
    names = [name[:_FINISH].encode("ascii", "replace").decode() for name in others]
    written["others"] = [name.replace("\0", "?") for name in names if name != "messages"]
    return written


def _count(tokens: int | None) -> int | None:
    return tokens if type(tokens) is int and 0 <= tokens <= _INT4 else None
