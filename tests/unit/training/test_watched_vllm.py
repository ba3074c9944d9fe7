"""The watcher of backend ``local`` survives what it cannot see, and says so."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from babylon_tasks.training import local
from babylon_tasks.training.local import LocalTraining


def test_an_error_of_the_watchers_own_is_a_line_of_the_log_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[bool] = []

    async def lives() -> bool:
        seen.append(True)
        if len(seen) == 1:
            raise RuntimeError("no descriptor is left")
        return True

    async def watch() -> None:
        backend = LocalTraining.__new__(LocalTraining)
        backend.front = SimpleNamespace(lives=lives)  # type: ignore[assignment]
        watching = asyncio.create_task(backend._watch())
        while len(seen) < 3 and not watching.done():
            await asyncio.sleep(0)
        watching.cancel()

    monkeypatch.setattr(local, "_WATCH_SECONDS", 0)
    asyncio.run(watch())

    assert len(seen) == 3
    assert "cannot see whether vLLM lives: RuntimeError: no descriptor" in capsys.readouterr().err
