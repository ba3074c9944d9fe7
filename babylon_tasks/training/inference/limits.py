"""How much the endpoint takes, of one request and of all together, and how long it waits."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True):
    """The limits that are settings, ``BABYLON_INFERENCE_MAX_REQUESTS`` and the timeout.

    ``requests`` are in progress at once, read, queued and sampled together; each is answered within
    ``seconds`` of its body or dropped.
    """

    requests: int = 256
    seconds: float = 600.0


# Of one request. A limit in characters refuses no prompt that the limit in tokens would not.
BODY_BYTES = 2**20
MESSAGES = 512  # each costs tokens of the template: more do not fit into a prompt
PROMPT_TOKENS = 2048
ANSWERS = 64
ANSWER_TOKENS = 1024
STOPS = 16
STOP_CHARACTERS = 256
# Of all answers sampled together: as many as the requests that are in progress at once by default.
BATCH_ANSWERS = 256
# Of all answers sampled together, their prompts included: the memory of the cache. The small model
# needs 45 kB for each of these tokens, so 3 GB.
BATCH_TOKENS = 65_536


def batch_tokens(free_bytes: int | None, bytes_per_token: int) -> int:
    """Return the most tokens of all answers sampled together, their prompts included.

    ``free_bytes`` are those of a card once the model is loaded, None on the processor. The cache
    takes at most half of them: the rest is for what a pass computes on the way.
    """
    if free_bytes is None:
        return BATCH_TOKENS
    return min(BATCH_TOKENS, free_bytes // 2 // bytes_per_token)
