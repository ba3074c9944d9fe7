"""What the gateway counts, for Prometheus; no other process exports it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from babylon_tasks.gateway.asker import AgentSource
from babylon_tasks.gateway.away import AwayReason
from babylon_tasks.gateway.capture_state import CaptureState
from babylon_tasks.gateway.trainer_reply import SampleState

_ANSWER_SECONDS = (0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 900)
# Its own share is to be milliseconds.
_OWN_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.5, 2)
SECONDS = Histogram(
    "babylon_gateway_duration_seconds",
    "How long agents waited for an answer from the gateway, by who answered (checkpoint, the name "
    "of another server, or none), the arm that the agent was drawn for (serving, control, "
    "examinee, or none) and HTTP status, which is that of the error where a stream ends with one.",
    ["served_by", "arm", "code"],
    buckets=_ANSWER_SECONDS,
)
OWN_SECONDS = Histogram(
    "babylon_gateway_own_seconds",
    "The gateway's own share, from the head of a request to the end of its answer: what is left "
    "without the waits for the client's body and for each part of what the server behind it sends. "
    "Writing the request to that server counts as waiting for it; so does the event loop's delay "
    "meanwhile. A client that reads slowly counts as the gateway.",
    buckets=_OWN_SECONDS,
)
CALLS = Counter(
    "babylon_gateway_calls",
    "Calls by where the agent's id was found: header, path, key, user, system_prompt or none.",
    ["source"],
)
FALLBACKS = Counter(
    "babylon_gateway_fallbacks",
    "Calls for the serving checkpoint passed on to the fallback, by reason: connect, timeout, "
    "broken, busy, error, no_model, refused, too_large, malformed, paused (after several of "
    "these), unknown (which checkpoint serves).",
    ["reason"],
)
REFUSED = Counter(
    "babylon_gateway_refused",
    "Requests that a server refused for something of the gateway's own, such as its key or an "
    "account without credit, by server (checkpoint, or the name of another) and HTTP status.",
    ["server", "code"],
)
SAMPLES = Counter(
    "babylon_gateway_samples",
    "Answers of checkpoints by whether they had the ids and log-probabilities of their tokens: "
    "complete, or why not.",
    ["state"],
)
PROFILE = Gauge(
    "babylon_gateway_server_profile",
    "1 for how the checkpoints' server reports the ids and log-probabilities of its tokens: vllm, "
    "dynamo, token_names, logprobs, bare, text_only (not at all), unknown (not asked yet).",
    ["profile"],
)
IN_PROGRESS = Gauge(
    "babylon_gateway_in_progress", "Requests being read, queued at a server, or answered."
)
POINTER_AGE = Gauge(
    "babylon_gateway_pointer_age_seconds",
    "Seconds since the serving checkpoint was last read from Postgres, or since the start.",
)
CAPTURES = Counter(
    "babylon_gateway_captures",
    "Captured calls by what became of them: written (to Postgres), or lost because of queue_full, "
    "spool_full, disk, torn (by a crash), too_large (another server's), unreadable (texts), "
    "refused (by Postgres, for good).",
    ["state"],
)
CAPTURES_QUEUED = Gauge(
    "babylon_gateway_captures_waiting_bytes",
    "Captured calls on this gateway's disk that Postgres does not have yet.",
)


def _begin_at_zero() -> None:
    """Export each label value at zero: a counter that appears with its first event hides it."""
    for source in AgentSource:
        CALLS.labels(source)
    for reason in AwayReason:
        FALLBACKS.labels(reason)
    for status in (401, 402, 403):  # the most likely; others appear with their first refusal
        REFUSED.labels("checkpoint", str(status))
    for state in SampleState:
        SAMPLES.labels(state)
    for became in CaptureState:
        CAPTURES.labels(became)


_begin_at_zero()
