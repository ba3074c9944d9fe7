"""Held-out hours of questions about markets that have ended, and policies that answer them.

The policies are behind a real server on loopback, each under a checkpoint's name.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from factories import action, insert, llm_call, step
from scored_windows import scored_window
from upstream import Upstream

from babylon_tasks.db.session import Connection
from babylon_tasks.training.ask_policies import PolicyServer

HOURS = tuple(f"2026-01-30T{n:02d}:00" for n in range(24))
Policy = Callable[[str], str]


def questions(
    connection: Connection,
    *windows: str,
    agents: int = 40,
    model: str = "babylon@0",
    system: str = "Answer YES or NO.",
    **call: Any,
) -> None:
    """Held-out hours in which each agent was asked about a market of its own; half ended YES."""
    for window in windows:
        stepped = []
        for n in range(agents):
            market = f"m-{window}-{n}"
            side = "YES" if n % 4 < 2 else "NO"
            prompt = f"Market {market} will end {ended(n)}. Will it end YES?"
            asked = llm_call(side, model=model, systemPrompt=system, userPrompt=prompt, **call)
            stepped.append([step(0, [asked], action=action(market=market, side=side))])
        rewards = [n / agents for n in range(agents)]
        scored_window(connection, window, rewards, state="held_out", stepped=stepped)
        rows = [
            {"kind": "market", "name": f"m-{window}-{n}", "window_id": window, "yes": n % 2 == 0}
            for n in range(agents)
        ]
        insert(connection, "training.outcomes", rows)


def ended(n: int) -> str:
    return "YES" if n % 2 == 0 else "NO"


def knows(prompt: str) -> str:
    """The policy that reads the prompt: four of five answers are right."""
    says = "YES" if "will end YES" in prompt else "NO"
    other = {"YES": "NO", "NO": "YES"}
    return other[says] if sum(map(ord, prompt)) % 5 == 0 else says


def rephrased(prompt: str) -> str:
    """Equal to ``knows``, in other words."""
    return f"{knows(prompt).title()}."


def constant(prompt: str) -> str:
    del prompt
    return "YES"


def gibberish(prompt: str) -> str:
    return f"lorem {len(prompt)}"


class Policies(Upstream):
    """The inference endpoint: answers a checkpoint's name as its policy does.

    ``refuses``: prompts that contain it are too long. ``ends_after``: so many answers, then 503.
    """

    def __init__(self, **policies: Policy) -> None:
        super().__init__()
        self.policies = {
            f"babylon@{name.removeprefix('at_')}": one for name, one in policies.items()
        }
        self.refuses: str | None = None
        self.ends_after: int | None = None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()

    def at(self) -> PolicyServer:
        return PolicyServer(self.url, "key")

    def answer(self, body: bytes) -> tuple[int, bytes]:
        asked = json.loads(body)
        prompt = asked["messages"][-1]["content"]
        with self._lock:
            if self.ends_after is not None and len(self.asked) >= self.ends_after:
                return 503, b'{"error": {"message": "no"}}'
            self.asked.append((asked["model"], asked))
        if self.refuses is not None and self.refuses in prompt:
            return 400, b'{"error": {"message": "the prompt is too long"}}'
        if asked["model"] not in self.policies:
            return 404, b'{"error": {"message": "no such model"}}'
        text = self.policies[asked["model"]](prompt)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {"id": "x", "object": "chat.completion", "created": 1, "model": asked["model"]}
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
        return 200, json.dumps({**reply, "choices": [choice], "usage": usage}).encode()
