"""Peers on loopback that tell what they sampled as the servers of each kind do, or do not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from upstream import Upstream

Reply = dict[str, Any]
IDS = [40, 41, 2]
LOGPROBS = [-0.5, -0.25, -0.125]
_TEXTS = ["b", "uy", ""]
# What OpenAI's own protocol has.
_KNOWN = {"model", "messages", "max_tokens", "temperature", "top_p", "logprobs", "top_logprobs"}


class SamplingServer(Upstream):
    """Answers each request as its kind does; what it does not know it ignores."""

    def answer(self, body: bytes) -> tuple[int, bytes]:
        asked = json.loads(body)
        wrong = self.wrong(asked)
        if wrong is not None:
            return 400, json.dumps({"error": {"message": wrong, "type": "x"}}).encode()
        message = {"role": "assistant", "content": "buy"}
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": len(IDS)}
        reply = {"id": "x", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        self.tell(asked, reply, choice)
        return 200, json.dumps(reply).encode()

    def wrong(self, asked: Mapping[str, Any]) -> str | None:  # noqa: ARG002  # of those that refuse
        """What of a request it does not take."""
        return None

    def tell(self, asked: Mapping[str, Any], reply: Reply, choice: Reply) -> None:  # noqa: ARG002
        """Add to a reply and its only choice what was asked for."""
        if asked.get("logprobs"):
            choice["logprobs"] = logprobs(_TEXTS)


def logprobs(texts: list[str]) -> dict[str, Any]:
    pairs = zip(texts, LOGPROBS, strict=True)
    return {"content": [{"token": text, "logprob": one, "bytes": None} for text, one in pairs]}


class Vllm(SamplingServer):
    """And SGLang: ids beside each choice."""

    def tell(self, asked: Mapping[str, Any], reply: Reply, choice: Reply) -> None:
        super().tell(asked, reply, choice)
        if asked.get("return_token_ids"):
            choice["token_ids"] = IDS


class OldVllm(SamplingServer):
    """It calls tokens by their ids, if it is asked to."""

    def tell(self, asked: Mapping[str, Any], reply: Reply, choice: Reply) -> None:  # noqa: ARG002
        if asked.get("logprobs"):
            named = asked.get("return_tokens_as_token_ids")
            choice["logprobs"] = logprobs([f"token_id:{n}" for n in IDS] if named else _TEXTS)


class Dynamo(SamplingServer):
    """Both arrays in ``nvext``; beside the choice one log-probability is missing."""

    def tell(self, asked: Mapping[str, Any], reply: Reply, choice: Reply) -> None:
        super().tell(asked, reply, choice)
        choice["logprobs"]["content"].pop()
        if "engine_data" in asked.get("nvext", {}).get("extra_fields", ()):
            data = {"completion_token_ids": IDS, "completion_logprobs": LOGPROBS}
            reply["nvext"] = {"engine_data": {"prompt_token_ids": [1] * 9, **data}}


class Strict(SamplingServer):
    """It refuses what OpenAI's protocol has not: log-probabilities come, ids never."""

    def wrong(self, asked: Mapping[str, Any]) -> str | None:
        unknown = sorted(set(asked) - _KNOWN)
        return f"Extra inputs are not permitted: {unknown}" if unknown else None


class Groq(Strict):
    """It refuses log-probabilities too."""

    def wrong(self, asked: Mapping[str, Any]) -> str | None:
        if {"logprobs", "top_logprobs"} & set(asked):
            return "logprobs is not supported with this model"
        return super().wrong(asked)
