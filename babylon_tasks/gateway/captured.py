"""What is kept of an answer: how it was sampled, and the hashes of its texts, not the texts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from babylon_tasks.arms import Arm
from babylon_tasks.dataset.packed_tokens import IDS, LOGPROBS, packed
from babylon_tasks.dataset.text_hashes import text_hashes
from babylon_tasks.db.calls import CapturedCall
from babylon_tasks.gateway.asker import Asker
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.trainer_body import shaped
from babylon_tasks.gateway.trainer_reply import SampleState
from babylon_tasks.policy_names import policy_step
from babylon_tasks.recorder.completion import Completion, read_messages
from babylon_tasks.windows import window_id

_SCALARS = ("max_tokens", "max_completion_tokens", "n", "seed")
_FINISH = 40  # the most characters of a finish reason, and of a parameter's name
_INT4 = 2**31 - 1


class Sampled(Struct, frozen=True, kw_only=True):
    """An answer as it was sampled, with what is known of its request.

    ``size``: its bytes. With ``keep_prompt_ids`` the ids of its prompt are kept too.
    """

    capture_id: UUID
    asked_at: datetime
    asked: GatewayRequest
    asker: Asker
    client: str
    policy: str
    found: Completion
    state: SampleState
    latency_ms: int
    size: int
    arm: Arm | None = None
    keep_prompt_ids: bool = False


def captured(sampled: Sampled) -> CapturedCall:
    """Pack an answer; raises LookupError, TypeError or ValueError for texts that cannot be read."""
    asked = sampled.asked
    found = sampled.found
    messages = [(one["role"], one["content"]) for one in read_messages(asked.value("messages"))]
    hashes = text_hashes(messages, found.response)
    state = sampled.state
    if state is SampleState.COMPLETE and shaped(asked):
        state = SampleState.SHAPED
    exact = state in (SampleState.COMPLETE, SampleState.SHAPED)
    return CapturedCall(
        capture_id=sampled.capture_id,
        asked_at=sampled.asked_at,
        window_id=window_id(sampled.asked_at),
        agent=sampled.asker.agent,
        agent_source=sampled.asker.source,
        client=sampled.client,
        lineage=sampled.policy.rpartition("@")[0],
        step=policy_step(sampled.policy) or 0,
        system_hash=hashes.system,
        user_hash=hashes.user,
        answer_hash=hashes.answer,
        sample_state=state,
        token_ids=packed(IDS, found.token_ids) if exact else None,
        logprobs=packed(LOGPROBS, found.logprobs) if exact else None,
        sampling=_sampling(asked, found.prompt_ids if sampled.keep_prompt_ids and exact else None),
        finish_reason=None if found.finish_reason is None else str(found.finish_reason)[:_FINISH],
        prompt_tokens=_count(found.prompt_tokens),
        completion_tokens=_count(found.completion_tokens),
        latency_ms=min(sampled.latency_ms, _INT4),
        arm=sampled.arm,
    )


def _sampling(asked: GatewayRequest, prompt_ids: Sequence[int] | None) -> str:
    """Write the request's numbers as JSON, defaults included; of other parameters the names.

    With the ids of its prompt, where they are kept, packed and in base64.
    """
    written = {name: asked.value(name) for name in _SCALARS if asked.given(name)}
    for name in ("temperature", "top_p"):
        written[name] = asked.value(name) if asked.given(name) else 1
    others = sorted(name for name in asked.fields if asked.given(name) and name not in written)
    names = [name[:_FINISH].encode("ascii", "replace").decode() for name in others]
    written["others"] = [name.replace("\0", "?") for name in names if name != "messages"]
    if prompt_ids:
        written["prompt_ids"] = packed(IDS, prompt_ids)  # msgspec writes bytes in base64
    return msgspec.json.encode(written).decode()


def _count(tokens: int | None) -> int | None:
    return tokens if type(tokens) is int and 0 <= tokens <= _INT4 else None
