"""Calls that agents make are in the trace of their hour, linked to the agents' own traces."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx
import pytest
from endpoint import PATIENCE
from gateways import KEY, Played
from otlp_receiver import OtlpReceiver, about, otlp_receiver

from babylon_tasks import tracing
from babylon_tasks.settings import Settings
from babylon_tasks.tracing import Span

pytestmark = pytest.mark.contract(None)
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def asked(
    played: Callable[..., AbstractContextManager[Played]],
    make_settings: Callable[..., Settings],
    *models: str,
    share: float,
) -> OtlpReceiver:
    """What a collector gets of a question to each of these models."""
    with otlp_receiver() as receiver:
        tracing.begin(make_settings(traces_url=receiver.url))
        try:
            with played(traced_calls=share) as gateway:
                for model in models:
                    httpx.post(
                        f"{gateway.url}/chat/completions",
                        json={"model": model, "messages": [{"role": "user", "content": "?"}]},
                        headers={"Authorization": f"Bearer {KEY}", "traceparent": CALLER},
                        timeout=PATIENCE,
                    ).raise_for_status()
        finally:
            tracing.end()
            tracing.begin(make_settings())
    return receiver


def test_a_call_says_who_answered_and_is_linked_to_the_callers_span(
    played: Callable[..., AbstractContextManager[Played]], make_settings: Callable[..., Settings]
) -> None:
    found = asked(played, make_settings, "tests", "m", share=1)

    calls = found.named(Span.CALL)
    assert [about(one)["babylon.answered_by"] for one in calls] == ["tests@0", "m"]
    for one in calls:
        _, trace, span, _ = CALLER.split("-")
        assert [(to.trace_id.hex(), to.span_id.hex()) for to in one.links] == [(trace, span)]
    captured = sum(int(about(one)["babylon.calls"]) for one in found.named(Span.CAPTURE))
    assert captured == 2


def test_calls_may_be_left_out(
    played: Callable[..., AbstractContextManager[Played]], make_settings: Callable[..., Settings]
) -> None:
    found = asked(played, make_settings, "tests", share=0)

    assert not found.named(Span.CALL)
    assert found.named(Span.CAPTURE)
