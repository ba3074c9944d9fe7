"""How much longer an answer takes through the gateway than alone, and how many a core carries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from statistics import mean, median, quantiles
from typing import Any, NamedTuple

import psutil

from bench.growth import curve
from bench.load import load
from bench.other_work import OtherWork

PAUSE = 0.2  # of an answer's time: the most that a client waits before it asks again
PROMPTS = (1000, 4000, 16_000)  # words
IDLE = 0.02  # seconds of CPU in half a second
SHIPPED = 1.5  # seconds until the captures of a turn are in Postgres, so that none takes the next


class Turns(NamedTuple):
    """How long and how often each side is asked, and the least calls of a side in all."""

    seconds: float
    rounds: int
    calls: int


class Percentiles(NamedTuple):
    """In milliseconds."""

    half: float
    most: float  # the 99th


class Target(NamedTuple):
    """One model: through the gateway, and at its own server."""

    model: str
    through: str
    alone: str
    key: str
    gateway: psutil.Process
    words: int = 4000  # of the prompt, each about a token

    def asked(self, seconds: float) -> dict[str, Any]:
        """Write a request that is answered after so many seconds."""
        messages = [{"role": "user", "content": "word " * self.words}]
        return {"model": self.model, "messages": messages, "user": f"{seconds:g}"}

    def took(self, base_url: str, clients: int, answer: float, seconds: float) -> list[float]:
        """Ask for so many seconds; returns the seconds of each answer."""
        return asyncio.run(
            load(
                f"{base_url}/chat/completions",
                self.asked(answer),
                self.key,
                clients=clients,
                seconds=seconds,
                pause=answer * PAUSE,
            )
        )


def percentiles(took: list[float]) -> Percentiles:
    """Return the median and the 99th percentile."""
    found = quantiles(took, n=100, method="inclusive")
    return Percentiles(found[49] * 1000, found[98] * 1000)


def added(target: Target, clients: int, answer: float, turns: Turns) -> str:
    """Say how much longer answers take through the gateway than alone.

    By turns, so that what else the machine does falls on both, and each goes first as often.
    Raises RuntimeError where fewer calls than ``turns.calls`` were made on a side.
    """
    alone: list[list[float]] = []
    through: list[list[float]] = []
    used = 0.0
    others = OtherWork()
    pause = answer * PAUSE
    asking = max(1, round(clients * (1 + PAUSE / 2)))  # some of them are pausing
    for number in range(turns.rounds):
        sides = [(target.alone, alone), (target.through, through)]
        for base_url, took in sides if number % 2 else reversed(sides):
            begun = _cpu(target.gateway)
            took.append(target.took(base_url, asking, answer, turns.seconds))
            used += _cpu(target.gateway) - begun
            if took is through:
                time.sleep(SHIPPED)
    before, after = (
        percentiles([one for took in side for one in took]) for side in (alone, through)
    )
    calls = min(sum(map(len, alone)), sum(map(len, through)))
    if calls < turns.calls:
        raise RuntimeError(
            f"{clients} at once: {calls} calls on a side are too few for a p99, which needs "
            f"{turns.calls}; see TURNS in bench/gateway.py"
        )
    rounds = [
        (percentiles(one), percentiles(other)) for one, other in zip(alone, through, strict=True)
    ]
    waited = mean(one for took in through for one in took)
    in_flight = asking * waited / (waited + pause / 2)
    elapsed = turns.rounds * turns.seconds
    return (
        f"{clients:4d} at once, answered after {answer:g} s: "
        f"p50 {after.half - before.half:+.1f} ms, p99 {after.most - before.most:+.1f} ms "
        f"(alone {before.half:.1f} and {before.most:.1f})\n"
        f"       by round p50 {spread(other.half - one.half for one, other in rounds)}; "
        f"p99 {spread(other.most - one.most for one, other in rounds)}\n"
        f"       {calls} calls a side in {turns.rounds} rounds by {asking} clients, "
        f"{in_flight:.0f} in flight; {sum(map(len, through)) / elapsed:.0f} a second, for which "
        f"the gateway used {used / elapsed:.0%} of a core; {others}"
    )


def spread(found: Iterable[float]) -> str:
    """Write the median of milliseconds, and between what they lie."""
    values = sorted(found)
    return f"{median(values):+.1f} ms ({values[0]:+.1f} to {values[-1]:+.1f})"


def carried(target: Target, clients: int, seconds: float) -> str:
    """Say how many calls a core of the gateway carries."""
    before = _cpu(target.gateway)
    took = target.took(target.through, clients, 0.0, seconds)
    used = _cpu(target.gateway) - before
    memory = target.gateway.memory_info().rss / 2**20
    return (
        f"{clients:4d} at once, answered at once: {len(took) / used:.0f} calls a second and core "
        f"({len(took) / seconds:.0f} calls a second; {memory:.0f} MB resident)"
    )


def by_prompt(target: Target, clients: int, seconds: float) -> str:
    """Say what a call costs the gateway by the words of its prompt, captures included."""
    costs = []
    _settle(target.gateway)
    for words in PROMPTS:
        before = _cpu(target.gateway)
        asked = target._replace(words=words)
        calls = clients + len(asked.took(target.through, clients, 0.0, seconds))  # first ones too
        _settle(target.gateway)
        costs.append((_cpu(target.gateway) - before) / calls * 1e6)
    return curve("CPU of a call, by words of its prompt", PROMPTS, costs, " us")


def _settle(gateway: psutil.Process) -> None:
    """Wait until it has written what it captured, at most some seconds."""
    for _ in range(20):
        before = _cpu(gateway)
        time.sleep(0.5)
        if _cpu(gateway) - before <= IDLE:
            return


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
