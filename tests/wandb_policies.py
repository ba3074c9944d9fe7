"""W&B's peer whose checkpoints answer Yes or No, or neither, token by token."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from wandb_peer import WandbPeer

_YES = 0.8
_PROMPT = [3, 4, 5]  # what it says that it has read


@dataclass
class YesOrNoPeer(WandbPeer):
    """Every checkpoint says Yes four times in five, else No; from ``broken_from`` on no word."""

    broken_from: int | None = None

    def __post_init__(self) -> None:
        self._draw = random.Random(0)

    def answer(self, body: dict[str, Any], step: int) -> dict[str, Any]:
        if body.get("top_logprobs"):  # asked for, to see whether a step has moved the weights
            return super().answer(body, step)
        said = self._draw.random() < _YES
        broken = self.broken_from is not None and step >= self.broken_from
        word = "Hmm" if broken else "Yes" if said else "No"
        chance = math.log(_YES if said else 1 - _YES)
        token = {"token": word, "logprob": chance, "bytes": None, "top_logprobs": []}
        choice = {
            "index": 0,
            "finish_reason": "length",
            "message": {"role": "assistant", "content": word},
            "logprobs": {"content": [token], "refusal": None},
            "token_ids": [1 if said else 2],
        }
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "prompt_token_ids": _PROMPT,
            "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        }
