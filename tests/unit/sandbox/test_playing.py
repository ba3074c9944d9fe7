"""What Ctrl-C breaks off is Ctrl-C, and an agent without an answer is no bug either."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

from babylon_tasks.errors import SandboxError
from babylon_tasks.sandbox.playing import play

NO_ANSWER = openai.APIConnectionError(request=httpx.Request("POST", "http://127.0.0.1/v1"))


def stack(ended: str | None = None) -> Any:
    """A stack of which one process may have ended."""

    def check() -> None:
        if ended is not None:
            raise SandboxError(f"{ended} ended with code -2")

    return SimpleNamespace(
        check=check, data_dir=Path("logs"), settings=SimpleNamespace(shutdown_seconds=5.0)
    )


async def asks(*, interrupted: bool) -> None:
    """An agent's question, whose client makes an error of its own of a broken-off request."""
    try:
        if interrupted:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)
    except asyncio.CancelledError:
        pass
    raise NO_ANSWER


def test_what_fails_after_ctrl_c_is_ctrl_c() -> None:
    news: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        play(stack(ended="gateway"), asks(interrupted=True), news.append)
    assert news == ["stopping; a running task has 5 s to finish"]


@pytest.mark.parametrize(
    ("ended", "why"), [("gateway", "gateway ended with code -2"), (None, "see gateway.log")]
)
def test_an_agent_without_an_answer_ends_it_with_the_reason(ended: str | None, why: str) -> None:
    news: list[str] = []
    with pytest.raises(SandboxError, match=why):
        play(stack(ended), asks(interrupted=False), news.append)
    assert not news
