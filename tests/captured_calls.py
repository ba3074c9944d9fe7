"""Captured calls as the gateway writes them."""

from __future__ import annotations

import json
from array import array
from datetime import datetime
from typing import Any
from uuid import uuid4

from msgspec import structs

from babylon_tasks.dataset.text_hashes import text_hashes
from babylon_tasks.db.calls import CapturedCall
from babylon_tasks.gateway.asker import AgentSource, Asker
from babylon_tasks.gateway.captured import Sampled
from babylon_tasks.gateway.request import GatewayRequest
from babylon_tasks.gateway.trainer_reply import SampleState
from babylon_tasks.recorder.completion import read_completion
from babylon_tasks.windows import window_id


def captured_call(
    *,
    asked_at: datetime,
    system: str = "You trade.",
    user: str = "Will ACME close higher?",
    answer: str = "buy",
    ids: list[int] | None = None,
    **fields: Any,
) -> CapturedCall:
    """A complete capture of an exchange of these texts."""
    hashes = text_hashes([("system", system), ("user", user)], answer)
    ids = [1, 2, 3] if ids is None else ids
    made = CapturedCall(
        capture_id=uuid4(),
        asked_at=asked_at,
        window_id=window_id(asked_at),
        agent="agent-1",
        agent_source="header",
        client="agents",
        lineage="babylon",
        step=0,
        system_hash=hashes.system,
        user_hash=hashes.user,
        answer_hash=hashes.answer,
        sample_state="complete",
        token_ids=array("i", ids).tobytes(),
        logprobs=array("f", [-0.5] * len(ids)).tobytes(),
        sampling='{"temperature":1,"top_p":1,"others":[]}',
        finish_reason="stop",
        prompt_tokens=7,
        completion_tokens=len(ids),
        latency_ms=12,
    )
    return structs.replace(made, **fields)


def passed_on_call(*, asked_at: datetime, **fields: Any) -> CapturedCall:
    """The same, answered by another server's model."""
    values = {"step": None, "server": "groq", "model": "qwen/q", "sample_state": "passed_on"}
    made = captured_call(asked_at=asked_at, **fields)
    return structs.replace(made, **values, token_ids=None, logprobs=None)


def sampled(now: datetime, answer: str = "buy", **fields: Any) -> Sampled:
    """An answer of three tokens, as the server sent it."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer},
        "finish_reason": "stop",
        "token_ids": [1, 2, 3],
        "logprobs": {"content": [{"token": f"token_id:{n}", "logprob": -n} for n in (1, 2, 3)]},
    }
    asked = {"model": "tests", "messages": [{"role": "user", "content": "?"}]}
    values = {
        "capture_id": uuid4(),
        "asked_at": now,
        "asked": GatewayRequest(json.dumps(asked).encode()),
        "asker": Asker("agent-1", AgentSource.HEADER),
        "client": "agents",
        "policy": "tests@0",
        "found": read_completion({"choices": [choice]}),
        "state": SampleState.COMPLETE,
        "latency_ms": 5,
        "size": 1000,
    }
    return Sampled(**{**values, **fields})
