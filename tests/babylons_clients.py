"""Babylon's client libraries, as npm has them, asking a gateway under node."""

from __future__ import annotations

from typing import Any

from gateways import KEY
from node import run_json

SYSTEM = {"role": "system", "content": "You trade."}
QUESTION = {"role": "user", "content": "Will ACME close higher?"}
AI_SDK = ("groq", "openai-compatible")
CLIENTS = (*AI_SDK, "openai")


def ask(url: str, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """What the clients make of the answers, in order; all are asked at once."""
    plain = {"model": "tests", "messages": [SYSTEM, QUESTION]}
    given = {"baseURL": url, "apiKey": KEY, "asked": [plain | one for one in requests]}
    found: list[dict[str, Any]] = run_json("test/ask.ts", given=given)
    return found
