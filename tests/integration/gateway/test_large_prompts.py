"""Prompts that are large together: some wait outside, and no other agent notices."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import httpx
import pytest
from endpoint import PATIENCE, until
from gateways import KEY, Played

from babylon_tasks.gateway import app

pytestmark = pytest.mark.contract(None)

ROOM = 400_000
LARGE = 300_000


def ask(made: Played, size: int, *, known_size: bool = True) -> httpx.Response:
    asked = b'{"model":"tests","messages":[{"role":"user","content":"%s"}]}' % (b"x" * size)
    return httpx.post(
        f"{made.url}/chat/completions",
        content=asked if known_size else iter([asked[:1000], asked[1000:]]),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        timeout=PATIENCE,
    )


def test_what_has_no_room_beside_those_in_progress_is_to_come_later(
    played: Callable[..., AbstractContextManager[Played]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_BODIES_BYTES", ROOM)
    answered = threading.Event()
    with played() as made, ThreadPoolExecutor(1) as pool:
        until(lambda: bool(made.trainer.came))  # the probe's question
        answer = made.trainer.answer

        def later(body: bytes) -> tuple[int, bytes]:
            if len(body) > LARGE:
                answered.wait(PATIENCE)
            return answer(body)

        monkeypatch.setattr(made.trainer, "answer", later)
        try:
            first = pool.submit(ask, made, LARGE)
            until(lambda: any(len(body) > LARGE for _, body in made.trainer.came))
            for known_size in (True, False):
                refusal = ask(made, LARGE, known_size=known_size)
                assert refusal.status_code == 429
                assert refusal.headers["retry-after"]
                assert refusal.json()["error"]["code"] == "rate_limit_exceeded"
                assert ask(made, 10, known_size=known_size).status_code == 200
        finally:
            answered.set()
        assert first.result().status_code == 200
        for _ in range(3):  # each has given its room back, whatever became of it
            assert ask(made, LARGE, known_size=False).status_code == 200
            assert ask(made, 2 * ROOM).status_code == 429
