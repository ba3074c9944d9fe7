"""Rows of the four kinds that agents record, for ``bench.score``: seeded, so that runs compare."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

AGENTS = 50
MARKETS = 20
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
_VOCABULARY = 150_000
_TEXTS = 50  # that differ, of each kind: making them takes longer than reading them


@dataclass(frozen=True)
class Kind:
    """One kind of row: its window, how many rows of it are scored at once, what it is."""

    name: str
    window: str
    rows: int
    about: str
    steps_json: Callable[[random.Random], str]

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        """Yield the rows in the order of ``COLUMNS``."""
        seeded = random.Random(7)
        texts = [self.steps_json(seeded) for _ in range(min(self.rows, _TEXTS))]
        day, hour = self.window.split("T")
        for number in range(self.rows):
            name = f"{self.name}-{number:07d}"
            yield (
                name, name, f"agent-{number % AGENTS}", f"{day} {hour}:01", f"{day} {hour}:13",
                12000, self.window, self.window, texts[number % _TEXTS], "{}", "{}", "{}", 0.4, 3,
                "completed", round(seeded.uniform(-300, 300), 2), f"{day} {hour}:13",
            )  # fmt: skip


COLUMNS = (
    'id, "trajectoryId", "agentId", "startTime", "endTime", "durationMs", "windowId", "scenarioId",'
    ' "stepsJson", "rewardComponentsJson", "metricsJson", "metadataJson", "totalReward",'
    ' "episodeLength", "finalStatus", "finalPnL", "updatedAt"'
)


def words(seeded: random.Random, characters: int) -> str:
    """Make text of so many characters."""
    made: list[str] = []
    length = 0
    while length < characters:
        made.append("".join(seeded.choices(_LETTERS, k=seeded.randint(2, 9))))
        length += len(made[-1]) + 1
    return " ".join(made)[:characters]


def steps(
    seeded: random.Random, count: int, call: Callable[[random.Random], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Make complete steps of about 1.2 kB each (data contract, 4.2); ``call`` adds to each call."""
    pnl = seeded.uniform(-200, 200)
    made = []
    for number in range(count):
        market = f"m-{seeded.randrange(MARKETS)}"
        side = seeded.choice(["YES", "NO"])
        made.append(
            {
                "stepNumber": number,
                "timestamp": 1_767_607_200_000 + number * 4000,
                "environmentState": {
                    "agentBalance": round(seeded.uniform(900, 1100), 2),
                    "agentPnL": round(pnl, 2),
                    "openPositions": seeded.randrange(5),
                    "activeMarkets": 22,
                },
                "providerAccesses": [_access(seeded, market)],
                "llmCalls": [
                    {
                        "model": "qwen/qwen3-32b",
                        "modelVersion": "v1.0.3",
                        "systemPrompt": words(seeded, 162),
                        "userPrompt": words(seeded, 95),
                        "response": json.dumps(
                            {"action": "trade", "market": market, "reasoning": words(seeded, 60)}
                        ),
                        "reasoning": words(seeded, 40),
                        "temperature": 0.7,
                        "maxTokens": 300,
                        "latencyMs": 287.4,
                        "purpose": "action",
                        "actionType": "BUY_SHARES",
                        **call(seeded),
                    }
                ],
                "action": {
                    "actionType": "BUY_SHARES",
                    "parameters": {"marketId": market, "side": side, "amount": 40},
                    "success": True,
                    "result": {"shares": 66.9, "avgPrice": 0.598},
                    "reasoning": words(seeded, 40),
                },
                "reward": round(seeded.uniform(-0.5, 0.5), 2),
            }
        )
        pnl += seeded.uniform(-50, 50)
    return made


def _access(seeded: random.Random, market: str) -> dict[str, Any]:
    found = {
        "id": market,
        "question": words(seeded, 40),
        "yesShares": 410.2,
        "noShares": 590.8,
        "liquidity": 1000,
    }
    return {
        "providerName": "BABYLON_MARKETS",
        "data": {"markets": [found]},
        "purpose": "prices before deciding",
    }


def _text(count: int) -> Callable[[random.Random], str]:
    return lambda seeded: _json(steps(seeded, count, lambda _: {}))


def _with_logprobs(seeded: random.Random) -> str:
    def sampled(seeded: random.Random) -> dict[str, Any]:
        return {
            "logprobs": [-seeded.expovariate(1.0) for _ in range(300)],
            "tokenIds": [seeded.randrange(_VOCABULARY) for _ in range(300)],
        }

    return _json(steps(seeded, 3, sampled))


def _with_objects(seeded: random.Random) -> str:
    def token(seeded: random.Random) -> dict[str, Any]:
        text = words(seeded, seeded.randint(2, 7))
        return {"token": text, "logprob": -seeded.expovariate(1.0), "bytes": [*text.encode()]}

    def sampled(seeded: random.Random) -> dict[str, Any]:
        content = [
            {**token(seeded), "top_logprobs": [token(seeded) for _ in range(5)]} for _ in range(300)
        ]
        return {"logprobs": {"content": content}}

    return _json(steps(seeded, 3, sampled))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


KINDS = (
    Kind("small", "2026-01-05T10:00", 8000, "3 steps of text", _text(3)),
    Kind("logprobs", "2026-01-05T11:00", 2000, "900 log-probabilities with ids", _with_logprobs),
    Kind("steps", "2026-01-05T12:00", 400, "150 steps of text", _text(150)),
    Kind("objects", "2026-01-05T13:00", 120, "900 tokens, each with 5 others", _with_objects),
)
