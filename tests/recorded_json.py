"""Any JSON, with the keys of recorded rows."""

from __future__ import annotations

from hypothesis import strategies as st

_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None))
)
KEYS = st.sampled_from(
    [
        "environmentState",
        "agentPnL",
        "llmCalls",
        "action",
        "parameters",
        "correctness",
        "marketId",
        "side",
        "response",
        "systemPrompt",
        "userPrompt",
        "messages",
        "role",
        "content",
        "logprobs",
        "logprob",
        "token",
        "tokenIds",
        "bytes",
        "id",
        "tool_calls",
        "tools",
        "finishReason",
        "promptTokens",
        "policyStep",
        "model",
        "temperature",
        "topP",
        "top_p",
        "topK",
        "response_format",
        "shaped",
        "success",
        "actionType",
        "predictedOutcome",
        "priceChange",
        "other",
    ]
)
JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6)
)
