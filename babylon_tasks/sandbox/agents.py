"""The agents of the miniature Babylon: they ask the policy, trade on its answer, and record it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from babylon_tasks.recorder import Recorder
from babylon_tasks.sandbox.markets import SYSTEM_PROMPT, Market, profit, read_answer
from babylon_tasks.windows import window_start

MAX_TOKENS = 1  # Yes and No are one token each; anything after them is noise
TEMPERATURE = 1.0
PATIENCE_SECONDS = 600.0  # a busy machine answers late; a killed trainer has long been restarted
_EXAMINED = 20  # markets at once: a busy machine may take minutes for a hundred


@dataclass
class Account:
    """An agent's money; ``pnl`` is cumulative over its life, as Babylon keeps it."""

    agent_id: str
    balance: float = 10_000.0
    pnl: float = 0.0


@dataclass(frozen=True)
class AgentAnswer:
    """What the policy answered an agent about a market."""

    account: Account
    market: Market
    completion: Any  # OpenAI's ChatCompletion, passed to the recorder unchanged


@dataclass(frozen=True)
class AnswerCounts:
    """Results of a set of answers; ``right`` counts valid ones in the direction of the signal."""

    n: int
    valid: int
    right: int


def messages(market: Market) -> list[dict[str, str]]:
    """Write the prompt about a market."""
    return [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": market.question},
    ]


async def ask(
    client: Any, model: str, market: Market, *, agent: str | None = None, n: int = 1
) -> Any:
    """Ask for one completion about a market, with log-probabilities and token ids."""
    return await client.chat.completions.create(
        model=model,
        messages=messages(market),
        n=n,
        temperature=TEMPERATURE,
        max_tokens=MAX_TOKENS,
        logprobs=True,
        extra_body={"return_token_ids": True},
        extra_headers={"X-Babylon-Agent": agent} if agent else {},
        timeout=PATIENCE_SECONDS,
    )


async def decide(
    client: Any, models: Sequence[str], markets: Sequence[Market], accounts: Sequence[Account]
) -> list[AgentAnswer]:
    """Let every agent ask its model about every market at once; ``models`` has one per agent."""
    asked = dict(zip((account.agent_id for account in accounts), models, strict=True))
    # By market: what arrives together is asked the same, and the trainer reads it once.
    wanted = [(account, market) for market in markets for account in accounts]
    completions = await asyncio.gather(
        *(
            ask(client, asked[account.agent_id], market, agent=account.agent_id)
            for account, market in wanted
        )
    )
    return [
        AgentAnswer(account, market, completion)
        for (account, market), completion in zip(wanted, completions, strict=True)
    ]


def record(
    recorder: Recorder,
    window: str,
    decisions: Sequence[AgentAnswer],
    *,
    keep_prompt_ids: bool = False,
) -> AnswerCounts:
    """Book each answer's profit, now that the markets have ended, and record it as a trajectory."""
    start = window_start(window)
    valid = right = 0
    for number, decision in enumerate(decisions):
        account, market = decision.account, decision.market
        answer = read_answer(decision.completion.choices[0].message.content or "")
        valid += answer is not None
        right += answer == market.rises
        now = start + timedelta(seconds=number)
        recording = recorder.start(account.agent_id, scenario_id=market.id, window=window, now=now)
        step = recording.step(balance=account.balance, pnl=account.pnl, now=now)
        step.llm_call(
            decision.completion,
            messages=messages(market),
            temperature=TEMPERATURE,
            max_tokens=MAX_TOKENS,
            purpose="action",
            keep_prompt_ids=keep_prompt_ids,
        )
        if answer is None:
            step.action("HOLD", {"marketId": market.id}, success=False, error="unreadable answer")
        else:
            side = "YES" if answer else "NO"
            step.action("BUY_SHARES", {"marketId": market.id, "side": side}, success=True)
        earned = profit(market, answer)
        account.balance += earned
        account.pnl += earned
        recording.finish(final_balance=account.balance, final_pnl=account.pnl)
    return AnswerCounts(len(decisions), valid, right)


async def examine(
    client: Any, model: str, markets: Sequence[Market], *, n: int
) -> list[AnswerCounts]:
    """Ask about each market ``n`` times, record nothing; returns the counts per market."""
    completions: list[Any] = []
    for first in range(0, len(markets), _EXAMINED):
        some = markets[first : first + _EXAMINED]
        completions += await asyncio.gather(*(ask(client, model, market, n=n) for market in some))
    tallies = []
    for market, completion in zip(markets, completions, strict=True):
        answers = [read_answer(choice.message.content or "") for choice in completion.choices]
        tallies.append(
            AnswerCounts(
                len(answers),
                sum(answer is not None for answer in answers),
                sum(answer == market.rises for answer in answers),
            )
        )
    return tallies
