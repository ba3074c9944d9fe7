"""The agents of the likeness of Babylon: they ask the gateway, act, and record it as Babylon does.

They know one address, and ask for a model by name. An agent that posts is asked once
more; its turn ends with a trade, with waiting, or with a failed action.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from babylon_tasks.recorder import Recorder
from babylon_tasks.recorder.recording import Recording
from babylon_tasks.sandbox.agents import PATIENCE_SECONDS
from babylon_tasks.sandbox.babylon_world.answers import Act, act, shares
from babylon_tasks.sandbox.babylon_world.external_model import NAME
from babylon_tasks.sandbox.babylon_world.markets import ARCHETYPES, BabylonMarket, messages
from babylon_tasks.windows import window_start

MAX_TOKENS = 48  # a trade has 36 tokens
TEMPERATURE = 1.0
_STEPS = 2


@dataclass(frozen=True)
class TurnStep:
    """One answer of a turn, what was asked, and what it came to."""

    asked: list[dict[str, str]]
    completion: Any  # OpenAI's ChatCompletion
    done: Act


@dataclass(frozen=True)
class Turn:
    """What an agent did about a market."""

    agent: str
    market: BabylonMarket
    decisions: list[TurnStep]

    @property
    def last(self) -> Act:
        """The action that ended it."""
        return self.decisions[-1].done

    @property
    def external(self) -> bool:
        """Whether the external model answered."""
        return bool(self.decisions[-1].completion.model == NAME)


def agents(count: int) -> dict[str, list[str]]:
    """Name the agents of each archetype."""
    return {name: [f"{name}-{number}" for number in range(count)] for name in ARCHETYPES}


async def ask(
    client: Any, model: str, chat: list[dict[str, str]], *, agent: str = "", n: int = 1
) -> Any:
    """Ask for one completion, with log-probabilities and token ids where the server has them."""
    return await client.chat.completions.create(
        model=model,
        messages=chat,
        n=n,
        temperature=TEMPERATURE,
        max_tokens=MAX_TOKENS,
        logprobs=True,
        extra_body={"return_token_ids": True},
        user=agent,
        timeout=PATIENCE_SECONDS,
    )


def turns(
    asked_about: Sequence[BabylonMarket], named: dict[str, list[str]], each: int
) -> list[tuple[str, BabylonMarket]]:
    """List who decides about what: each agent about so many markets of its archetype."""
    wanted = []
    for archetype, agents in named.items():
        markets = [one for one in asked_about if one.archetype == archetype]
        for number, agent in enumerate(agents):
            some = (markets[(number + more) % len(markets)] for more in range(each))
            wanted += [(agent, market) for market in some]
    return wanted


async def play(client: Any, wanted: Sequence[tuple[str, BabylonMarket]], model: str) -> list[Turn]:
    """Let each agent decide about its market, all at once."""
    return list(
        await asyncio.gather(*(_turn(client, model, agent, market) for agent, market in wanted))
    )


async def _turn(client: Any, model: str, agent: str, market: BabylonMarket) -> Turn:
    decisions: list[TurnStep] = []
    for _ in range(_STEPS):
        chat = messages(market)
        if decisions:
            chat[-1]["content"] += "\nYou have posted already."
        completion = await ask(client, model, chat, agent=agent)
        done = act(market, completion.choices[0].message.content or "")
        decisions.append(TurnStep(chat, completion, done))
        if done.action != "POST":
            break
    return Turn(agent, market, decisions)


async def examine(
    client: Any, model: str, asked_about: Sequence[BabylonMarket], *, n: int
) -> list[tuple[BabylonMarket, Act]]:
    """Ask about each market ``n`` times, record nothing; returns what each answer comes to."""
    found = await asyncio.gather(
        *(
            ask(client, model, messages(market), agent=f"examiner-{number}")
            for market in asked_about
            for number in range(n)
        )
    )
    again = [market for market in asked_about for _ in range(n)]
    return [
        (market, act(market, one.choices[0].message.content or ""))
        for market, one in zip(again, found, strict=True)
    ]


def record(recorder: Recorder, window: str, turns: Sequence[Turn]) -> None:
    """Record each turn as a trajectory; outcomes come hours later, so nothing is earned yet."""
    start = window_start(window)
    for number, turn in enumerate(turns):
        now = start + timedelta(seconds=number)
        recording = recorder.start(
            turn.agent, archetype=turn.market.archetype, window=window, now=now
        )
        for decision in turn.decisions:
            _record_step(recording, turn.market, decision, now)
        recording.finish(final_balance=turn.market.balance - turn.last.amount, final_pnl=0.0)


def _record_step(recording: Recording, market: BabylonMarket, decision: TurnStep, now: Any) -> None:
    done = decision.done
    step = recording.step(balance=market.balance, pnl=0.0, active_markets=1, now=now)
    step.llm_call(
        decision.completion,
        messages=decision.asked,
        temperature=TEMPERATURE,
        max_tokens=MAX_TOKENS,
        purpose="action",
        action_type=done.action,
    )
    if done.failed is not None:
        step.action(done.action, _storable(done), success=False, error=done.failed)
    elif done.yes is None:
        step.action(done.action, _storable(done), success=True)
    else:
        result = {"marketId": market.id, "shares": shares(market, done)}
        step.action(done.action, _storable(done), success=True, result=result)


def _storable(done: Act) -> dict[str, Any]:
    """Return a failed action's parameters as Babylon's tables take them: no number is NaN."""
    found: dict[str, Any] = json.loads(json.dumps(done.parameters), parse_constant=lambda _: None)
    return found
