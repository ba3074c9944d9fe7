"""Agents that ask what serves all the time, whatever strikes, and note when they are answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from types import TracebackType
from typing import Self

import httpx
import psycopg
from acceptance.harness import Babylon, until

PAUSE_SECONDS = 0.2
PATIENCE_SECONDS = 5.0  # of an agent, for one answer
POINTER_SECONDS = 2.0  # between two looks at which checkpoint serves


class Agents:
    """Ask until the block ends. Which checkpoint serves is what Postgres said last."""

    def __init__(self, babylon: Babylon) -> None:
        self.answered: list[float] = []  # by time.monotonic()
        self._babylon = babylon
        self._policy = babylon.policy()
        self._stop = threading.Event()
        self._one_asks = threading.Lock()
        self._asking = threading.Thread(target=self._ask_on, name="agents", daemon=True)

    def __enter__(self) -> Self:
        self._asking.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._asking.join(4 * PATIENCE_SECONDS)

    @contextmanager
    def kept_from_asking(self) -> Iterator[None]:
        """None of them asks until the block ends."""
        with self._one_asks:
            yield

    def await_answer(self, since: float, seconds: float) -> None:
        """Until one was answered after a moment; fails if that takes longer than these seconds."""
        until(
            f"agents are answered as {self._policy}",
            lambda: any(moment > since for moment in self.answered),
            seconds,
        )

    def longest_silence(self, since: float) -> float:
        """Find the longest time without an answer, from a moment or from the first answer."""
        answered = list(self.answered)
        marks = [since] if answered and answered[0] < since else []
        marks += [moment for moment in answered if moment >= since]
        return max((later - earlier for earlier, later in pairwise(marks)), default=0.0)

    def _ask_on(self) -> None:
        settings = self._babylon.stack.settings
        key = settings.inference_api_key.get_secret_value()
        looked = time.monotonic()
        with httpx.Client(
            base_url=f"http://127.0.0.1:{settings.inference_port}/v1/",
            headers={"Authorization": f"Bearer {key}"},
            timeout=PATIENCE_SECONDS,
        ) as client:
            while not self._stop.wait(PAUSE_SECONDS):
                if time.monotonic() > looked + POINTER_SECONDS:
                    with suppress(psycopg.Error):
                        self._policy = self._babylon.policy()
                    looked = time.monotonic()
                with self._one_asks:
                    if self._ask(client):
                        self.answered.append(time.monotonic())

    def _ask(self, client: httpx.Client) -> bool:
        messages = [{"role": "user", "content": "Yes or no?"}]
        asked = {"model": self._policy, "messages": messages, "max_tokens": 1}
        try:
            return client.post("chat/completions", json=asked).status_code == 200
        except httpx.TransportError:
            return False
