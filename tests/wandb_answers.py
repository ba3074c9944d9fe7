"""What policies without a network answer when they are asked for their first token: chance's."""

from __future__ import annotations

import json
import math
import random
from typing import Any

WORDS = 20


def distribution(seed: str, noise: random.Random, strength: float) -> dict[str, float]:
    """The log-probabilities of some words, those of a ``seed`` always the same but for noise."""
    chance = random.Random(seed)
    logits = [chance.gauss(0, 2) + strength * noise.gauss(0, 1) for _ in range(WORDS)]
    total = math.log(sum(map(math.exp, logits)))
    return {f"word-{n}": logit - total for n, logit in enumerate(logits)}


def completion(body: dict[str, Any], listed: dict[str, float]) -> dict[str, Any]:
    """A chat completion of one token, with these as the most probable ones."""
    rows = [
        {"token": token, "logprob": logprob, "bytes": list(token.encode())}
        for token, logprob in sorted(listed.items(), key=lambda one: -one[1])
    ]
    content = [{**rows[0], "top_logprobs": rows}] if body.get("top_logprobs") else []
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "length",
                "message": {"role": "assistant", "content": rows[0]["token"]},
                "logprobs": {"content": content, "refusal": None},
            }
        ],
    }


def prompt(body: dict[str, Any]) -> str:
    """The messages, as one text."""
    return json.dumps(body["messages"], sort_keys=True)
