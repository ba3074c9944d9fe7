"""Agents that trade hour by hour through the gateway, on a clock that the test moves on.

Nothing is told an hour: Postgres, the gateway and the workers live by one wall clock, which jumps
to the end of an hour once its agents have been answered and what they did is written. So the arms
of an hour are those that were decided on before it began, as in production.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from acceptance.harness import Babylon
from factories import insert_users
from msgspec import Struct
from openai import AsyncOpenAI
from upstream import Upstream

from babylon_tasks.arms import Arm, draw, in_force
from babylon_tasks.comparison.conclusion import ComparisonEvidence, Conclusion
from babylon_tasks.comparison.fall_back import quiet_checkpoint
from babylon_tasks.comparison.observed import ComparedWindow, Stratum
from babylon_tasks.comparison.ramp import RampStage
from babylon_tasks.db import arms, comparisons, outcomes, promotions
from babylon_tasks.db import clock as postgres_clock
from babylon_tasks.db.comparisons import ComparisonWindow
from babylon_tasks.gateway.pointer import POLL_SECONDS
from babylon_tasks.recorder import Recorder
from babylon_tasks.sandbox.agents import (
    MAX_TOKENS,
    TEMPERATURE,
    Account,
    AgentAnswer,
    ask,
    messages,
)
from babylon_tasks.sandbox.markets import Market, profit, read_answer
from babylon_tasks.windows import WINDOW, is_held_out, window_id, window_start
from checks.clock.moved_clock import MovedClock

EXTERNAL = "rules/bear"  # the model that agents use today
AGENTS = 200
MARKETS = 8  # of an hour
RISING = 7  # of these
_AT_ONCE = 64


class Bear(Upstream):
    """The model that agents use today, at a server of its own: whatever is asked, it says No."""

    def __init__(self) -> None:
        super().__init__()
        self.server.socket.listen(_AT_ONCE)

    def answer(self, body: bytes) -> tuple[int, bytes]:
        message = {"role": "assistant", "content": "No"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 30, "completion_tokens": 1, "total_tokens": 31}
        model = json.loads(body)["model"]
        reply = {"id": "x", "object": "chat.completion", "created": 1, "model": model}
        return 200, json.dumps({**reply, "choices": [choice], "usage": usage}).encode()


def first_hour(lineage: str, share: float, more: int = 60) -> datetime:
    """An hour that is held out, before so many that are not: the same whenever a test is run."""
    hour = datetime(2027, 3, 1, tzinfo=UTC)
    while True:
        names = [window_id(hour + number * WINDOW) for number in range(more)]
        held_out = [is_held_out(name, lineage, share) for name in names]
        if held_out[0] and not any(held_out[1:]):
            return hour
        hour += WINDOW


class ComparedHour(Struct, frozen=True):
    """What a comparison made of an hour."""

    window: str
    conclusion: Conclusion
    observed: ComparedWindow
    evidence: ComparisonEvidence

    @property
    def stratum(self) -> Stratum:
        """The arms' rewards: no agent has an archetype."""
        (found,) = self.observed.reward
        return found

    @property
    def difference(self) -> float:
        """By how much what serves was better than the anchor."""
        found = self.evidence.reward.measured.serving
        assert found is not None, self.evidence.reason
        return found

    @property
    def stage(self) -> RampStage:
        """The ramp's stage before what was concluded."""
        assert self.evidence.ramp is not None
        return self.evidence.ramp.stage

    @property
    def loss(self) -> float:
        """What the policy has cost each agent up to here, less what they have gained."""
        assert self.evidence.ramp is not None
        return self.evidence.ramp.loss


class MovedHours:
    """The hours of a system whose processes live by ``clock``; the first begins at once.

    ``rising``: how many of an hour's eight markets end YES.
    """

    def __init__(self, babylon: Babylon, clock: MovedClock) -> None:
        self.babylon = babylon
        self.rising = RISING
        self._clock = clock
        self._accounts = [Account(f"agent-{number}") for number in range(AGENTS)]
        self._known_since = 0.0
        insert_users(babylon.connection, [one.agent_id for one in self._accounts])
        share = babylon.stack.settings.held_out_share
        self._stand_at(first_hour(babylon.lineage, share))

    def begin(self) -> None:
        """Play an hour before the comparison begins, and come to its first one.

        The external model answers all agents of it, and checkpoints are screened on it.
        """
        self.babylon.await_what("it is decided who answers", self._is_decided)
        self._known_since = time.monotonic()
        window = self.play()
        self.babylon.await_states([window], "held_out")
        begun = "SELECT FROM training.comparisons WHERE lineage = %s"
        self.babylon.await_what(
            "a comparison has begun", lambda: self.babylon.rows(begun, (self.babylon.lineage,))
        )
        self._known_since = time.monotonic()
        assert self.policy_share(window) == 0
        self._end(window_id(postgres_clock.now(self.babylon.connection)))

    def play(self) -> str:
        """Let each agent ask for the lineage, write what it did, and end the hour; returns it."""
        # What was decided last, the gateway reads twice a second.
        time.sleep(max(0.0, self._known_since + 2 * POLL_SECONDS - time.monotonic()))
        window = window_id(postgres_clock.now(self.babylon.connection))
        markets = self._markets(window)
        for one in markets:
            outcomes.settle(
                self.babylon.connection, window, one.id, question=one.question, yes=one.rises
            )
        answered = asyncio.run(self._ask(markets))
        with Recorder(self.babylon.stack.settings) as recorder:
            self._record(recorder, window, answered)
            assert recorder.flush(60)
        assert (recorder.dropped, recorder.failed) == (0, 0)
        captured = "SELECT count(DISTINCT agent) AS n FROM training.calls WHERE window_id = %s"
        self.babylon.await_what(
            "each answer was captured",
            lambda: self.babylon.rows(captured, (window,)) == [{"n": AGENTS}],
        )
        self._end(window)
        return window

    def compared(self, window: str) -> ComparedHour:
        """Wait for what the comparison makes of an hour that is over."""
        found = self.babylon.await_what(f"{window} is compared", lambda: self._row(window))
        self._known_since = time.monotonic()
        assert found.observation is not None
        assert found.evidence is not None
        return ComparedHour(
            window,
            Conclusion(found.conclusion),
            msgspec.json.decode(found.observation, type=ComparedWindow),
            msgspec.json.decode(found.evidence, type=ComparisonEvidence),
        )

    def policy_share(self, window: str) -> float:
        """Which share of the agents is drawn for checkpoints of ours.

        By the captured calls each agent was answered by what it was drawn for.
        """
        rows = arms.since(self.babylon.connection, self.babylon.lineage, window)
        drawn = in_force(rows, window)
        assert drawn is not None
        names = [one.agent_id for one in self._accounts]
        calls = self.babylon.rows(
            "SELECT agent, arm, step, model FROM training.calls WHERE window_id = %s", (window,)
        )
        assert {call["agent"]: call["arm"] for call in calls} == {
            name: draw(drawn, name, window) for name in names
        }
        for call in calls:
            answered = EXTERNAL if call["step"] is None else None
            assert (call["arm"] == Arm.CONTROL, call["model"]) == (answered is not None, answered)
        return round(1 - drawn.control_share, 6)

    def newly_serving(self, window: str) -> tuple[int, int]:
        """Wait until another checkpoint serves than at the beginning of an hour: both."""
        served = promotions.served(self.babylon.connection, self.babylon.lineage)
        before = quiet_checkpoint(served, window_start(window))
        assert before is not None

        def newer() -> int | None:
            now = promotions.serving(self.babylon.connection, self.babylon.lineage).step
            return None if now == before else now

        found = self.babylon.await_what(f"another checkpoint serves than {before}", newer)
        self._known_since = time.monotonic()
        return before, found

    def answered_by(self, window: str) -> set[int]:
        """Which checkpoints have answered agents in an hour."""
        query = "SELECT DISTINCT step FROM training.calls WHERE window_id = %s AND step IS NOT NULL"
        return {row["step"] for row in self.babylon.rows(query, (window,))}

    def _row(self, window: str) -> ComparisonWindow | None:
        running = comparisons.newest(self.babylon.connection, self.babylon.lineage)
        if running is None:
            return None
        rows = comparisons.windows(self.babylon.connection, running.id)
        return next((row for row in rows if row.window == window), None)

    def _is_decided(self) -> bool:
        """Whether a checkpoint serves, the gateway knows it, and there are the first arms."""
        drawn = self.babylon.rows("SELECT FROM training.arms")
        return bool(drawn) and "server_probe.succeeded" in self.babylon.log("gateway")

    def _end(self, window: str) -> None:
        self._stand_at(window_start(window) + WINDOW)

    def _stand_at(self, moment: datetime) -> None:
        self._clock.set_for_others(moment + timedelta(seconds=1))

    def _markets(self, window: str) -> list[Market]:
        draw = random.Random(window)
        made = []
        for number in range(MARKETS):
            price, name = draw.randint(40, 60), f"m-{window}-{number}"
            asked = f"Market {name}: YES costs 0.{price}. Will it rise? Answer Yes or No."
            made.append(Market(name, name, asked, price / 100, rises=number < self.rising))
        return made

    async def _ask(self, markets: list[Market]) -> list[AgentAnswer]:
        settings = self.babylon.stack.settings
        key = settings.inference_api_key.get_secret_value()
        free = asyncio.Semaphore(_AT_ONCE)

        async def one(client: Any, account: Account, market: Market) -> AgentAnswer:
            async with free:
                reply = await ask(client, self.babylon.lineage, market, agent=account.agent_id)
            return AgentAnswer(account, market, reply)

        url = self.babylon.stack.gateway_url
        async with AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
            return await asyncio.gather(
                *(
                    one(client, account, markets[number % MARKETS])
                    for number, account in enumerate(self._accounts)
                )
            )

    def _record(self, recorder: Recorder, window: str, answered: list[AgentAnswer]) -> None:
        start = window_start(window)
        for number, one in enumerate(answered):
            now = start + timedelta(seconds=number)
            recording = recorder.start(one.account.agent_id, window=window, now=now)
            step = recording.step(balance=one.account.balance, pnl=one.account.pnl, now=now)
            step.llm_call(
                one.completion,
                messages=messages(one.market),
                temperature=TEMPERATURE,
                max_tokens=MAX_TOKENS,
            )
            said = read_answer(one.completion.choices[0].message.content or "")
            about = {"marketId": one.market.id}
            if said is None:
                step.action("HOLD", about, success=False, error="unreadable answer")
            else:
                about["side"] = "YES" if said else "NO"
                step.action("BUY_SHARES", about, success=True)
            earned = profit(one.market, said)
            one.account.balance += earned
            one.account.pnl += earned
            recording.finish(final_balance=one.account.balance, final_pnl=one.account.pnl)
