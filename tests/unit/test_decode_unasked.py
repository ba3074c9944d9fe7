"""Calls that no model was asked: Babylon's market engine writes them after its decisions."""

from __future__ import annotations

from typing import Any

from factories import llm_call, step
from raw_rows import decoded, raw

from babylon_tasks.decode import asked_calls, decode, decode_facts, facts_of
from babylon_tasks.records import Rejection


def market_decision(number: int = 0) -> dict[str, Any]:
    """As ``recordDecisions`` of TrajectoryMarketEngine.ts (Babylon's packages/engine) records it.

    "We reconstruct the prompt logic here since we can't intercept the raw prompt": the traders are
    asked all at once, for XML, and the answer here is the reasoning alone.
    """
    why = "EV+ trade."
    return {
        "stepNumber": number,
        "timestamp": 1769842800000,
        "environmentState": {"agentBalance": 0, "agentPoints": 0, "agentPnL": 0,
                             "openPositions": 0, "timestamp": 1769842800000},
        "providerAccesses": [],
        "llmCalls": [{
            "model": "market-decision-model", "purpose": "action", "actionType": "buy_yes",
            "systemPrompt": "You are an NPC making trading decisions. Output structured XML.",
            "userPrompt": "Trader: A (ID: a)\nArchetype: trader\nAction Required: Determine best.",
            "response": why, "reasoning": why, "temperature": 0.5, "maxTokens": 1000,
            "latencyMs": 0,
        }],
        "action": {
            "actionType": "buy_yes",
            "parameters": {"npcId": "a", "npcName": "A", "archetype": "trader", "ticker": "",
                           "marketId": "123456789", "marketType": "prediction", "amount": 2000,
                           "confidence": 0.8, "reasoning": why},
            "success": True,
            "result": {"action": "buy_yes", "amount": 2000, "market": "123456789",
                       "archetype": "trader"},
        },
        "reward": 0,
    }  # fmt: skip


def test_a_row_of_decisions_that_no_model_was_asked_for_has_no_calls() -> None:
    row = raw([market_decision(0), market_decision(1)])
    refused = decode(row)
    assert isinstance(refused, Rejection)
    assert refused.reason == "no_llm_calls"
    assert decode_facts(row) == refused


def test_the_calls_beside_them_are_read() -> None:
    row = raw([market_decision(0), step(1, calls=[llm_call(userPrompt="really?")])])
    whole = decoded([market_decision(0), step(1, calls=[llm_call(userPrompt="really?")])])
    assert [call.messages[-1][1] for call in whole.calls] == ["really?"]
    assert len(whole.actions) == 2
    assert decode_facts(row) == facts_of(whole)
    assert [(one.place, one.call) for one in asked_calls(row)] == [(0, whole.calls[0])]
