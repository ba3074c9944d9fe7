"""What the log says about a message that is not ours, and how often."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.message_gate import ForeignMessages

SECRET = "planted-secret-of-redis"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/x")
    monkeypatch.setenv("REDIS_URL", f"redis://:{SECRET}@127.0.0.1:1/0")
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@pytest.mark.parametrize("before", [0, 10, 180, 190, 199])
def test_the_log_has_the_beginning_of_a_message_and_no_secret(before: int) -> None:
    raw = b"\x1b[2J" + b"x" * before + SECRET.encode() + b"y" * 1_000_000
    with structlog.testing.capture_logs() as logs:
        ForeignMessages().note("cpu", "envelope", raw)

    (entry,) = logs
    assert entry["bytes"] == len(raw)
    assert len(entry["excerpt"]) <= 400
    assert "\x1b" not in entry["excerpt"]
    assert SECRET[:4] not in entry["excerpt"]


def test_a_flood_is_counted_and_does_not_fill_the_log() -> None:
    foreign = ForeignMessages()
    with structlog.testing.capture_logs() as logs:
        for _ in range(1000):
            foreign.note("cpu", "envelope", b"[]")
    assert len(logs) == 100
