"""Traces that are off cost nothing; settings that cannot work are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from recorded import trainer_settings

from babylon_tasks import tracing
from babylon_tasks.errors import SettingsError

OFF = """
import sys
from datetime import UTC, datetime
from babylon_tasks import tracing
from babylon_tasks.pipeline import discover, score, train
from babylon_tasks.gateway import process
tracing.record(tracing.Span.SCORE, ["2026-01-31T09:00"], began=datetime.now(UTC))
tracing.end()
print([name for name in sys.modules if name.startswith(("opentelemetry", "google.protobuf"))])
"""
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_where_nothing_is_traced_opentelemetry_is_not_imported() -> None:
    found = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = [name for name in sys.modules if name.startswith("opentelemetry.")]
    for name in ("opentelemetry", *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=r"pip install 'babylon-tasks\[otel\]'"):
        tracing.begin(trainer_settings(tmp_path, traces_url="http://collector:4318"))
    assert not tracing.is_on()


@pytest.mark.parametrize("url", ["collector:4317", "http://user:key@collector:4318", "grpc://x"])
def test_an_address_that_is_none_of_a_collector_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValidationError, match="BABYLON_TRACES_URL must look like"):
        trainer_settings(tmp_path, traces_url=url)


def test_a_callers_header_is_read_only_while_calls_are_traced(tmp_path: Path) -> None:
    headers = {b"traceparent": CALLER.encode() + b" and more"}
    assert tracing.caller(headers) is None
    tracing.begin(trainer_settings(tmp_path, traces_url="http://collector:4318"))
    try:
        assert tracing.caller(headers) == CALLER
        assert tracing.caller({}) is None
    finally:
        tracing.begin(trainer_settings(tmp_path))
