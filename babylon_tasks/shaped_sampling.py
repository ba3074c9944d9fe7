"""Which parameters of a request change what is sampled without showing in the log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# With these and no other parameters the policy itself is sampled, at its temperature and top_p.
# typescript/src/shaped-sampling.ts has the same, which a test compares.
PLAIN = frozenset(
    {
        "model",
        "messages",
        "temperature",
        "top_p",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "seed",
        "logprobs",
        "top_logprobs",
        "stream",
        "stream_options",
        "return_token_ids",
        "return_tokens_as_token_ids",
        "chat_template_kwargs",
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "parallel_tool_calls",
    }
)
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "top_k": (0, -1),
    "min_p": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none",),
    "functions": ([],),
    "function_call": ("none",),
}
KNOWN = PLAIN | NEUTRAL.keys()
_NUMBERS = ("temperature", "top_p")
HARMLESS = PLAIN.difference(_NUMBERS)  # whatever their values are


def shaping(request: Mapping[str, Any]) -> list[str]:
    """List by name the parameters that shape the sample; null counts as not given."""
    return sorted(
        name
        for name, value in request.items()
        if value is not None and name not in HARMLESS and not is_neutral(name, value)
    )


def is_neutral(name: str, value: Any) -> bool:
    """Check that a parameter has no effect.

    A temperature or top_p is recorded by itself; one that is not a number, which some servers
    accept, is not.
    """
    if name in _NUMBERS:
        return type(value) in (int, float)
    if name == "nvext":  # Dynamo's: it may ask for fields of the answer, or shape it
        return isinstance(value, dict) and value.keys() <= {"extra_fields"}
    return value in NEUTRAL.get(name, ())
