"""How a kind of server is asked for the ids and log-probabilities of what it samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Profile(Struct, frozen=True):
    """What is added to a request, beside the sampling parameters; ``name`` is for people."""

    name: str
    asks: Mapping[str, Any]


# Our own endpoint, vLLM, SGLang, and Dynamo of today: `token_ids` beside each choice.
VLLM = Profile(
    "vllm",
    {"logprobs": True, "return_token_ids": True, "return_tokens_as_token_ids": False},
)
# Dynamo: both arrays in `nvext`. Those beside the choices may have other lengths.
DYNAMO = Profile("dynamo", {"logprobs": True, "nvext": {"extra_fields": ["engine_data"]}})
# vLLM before `token_ids`: tokens are called token_id:N.
TOKEN_NAMES = Profile("token_names", {"logprobs": True, "return_tokens_as_token_ids": True})
# Servers that refuse what they do not know, and those that refuse log-probabilities too.
LOGPROBS = Profile("logprobs", {"logprobs": True})
BARE = Profile("bare", {})

# In the order in which a server is asked.
PROFILES = (VLLM, DYNAMO, TOKEN_NAMES, LOGPROBS, BARE)
TEXT_ONLY = "text_only"
UNKNOWN = "unknown"


def first_profile(backend: str) -> Profile:
    """Choose how a server is asked before it is known: W&B's documents no ids."""
    return LOGPROBS if backend == "serverless" else VLLM
