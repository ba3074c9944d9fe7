"""How much longer an answer takes through the gateway than alone, and how many a core carries."""

from __future__ import annotations

import asyncio
from statistics import quantiles
from typing import Any, NamedTuple

import psutil

from bench.load import load


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

    def asked(self, seconds: float) -> dict[str, Any]:
        """Write a request with a prompt of about 4,000 tokens, answered after so many seconds."""
        messages = [{"role": "user", "content": "word " * 4000}]
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
                pause=answer / 5,
            )
        )


def percentiles(took: list[float]) -> Percentiles:
    """Return the median and the 99th percentile."""
    found = quantiles(took, n=100, method="inclusive")
    return Percentiles(found[49] * 1000, found[98] * 1000)


def added(target: Target, clients: int, answer: float, seconds: float, rounds: int) -> str:
    """Say how much longer answers take through the gateway than alone.

    By turns, so that what else the machine does falls on both, and each goes first as often.
    """
    alone: list[list[float]] = []
    through: list[list[float]] = []
    used = 0.0
    for number in range(rounds):
        turns = [(target.alone, alone), (target.through, through)]
        for base_url, took in turns if number % 2 else reversed(turns):
            begun = _cpu(target.gateway)
            took.append(target.took(base_url, clients, answer, seconds))
            used += _cpu(target.gateway) - begun
    before, after = (
        percentiles([one for took in side for one in took]) for side in (alone, through)
    )
    halves = sorted(
        percentiles(other).half - percentiles(one).half
        for one, other in zip(alone, through, strict=True)
    )
    calls = sum(map(len, through))
    return (
        f"{clients:4d} at once, answered after {answer:g} s: "
        f"p50 {after.half - before.half:+.1f} ms, p99 {after.most - before.most:+.1f} ms "
        f"(alone {before.half:.1f} and {before.most:.1f}; p50 by round {halves[0]:+.1f} to "
        f"{halves[-1]:+.1f}; {calls} calls, {calls / rounds / seconds:.0f} a second, for which "
        f"the gateway used {used / rounds / seconds:.0%} of a core)"
    )


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


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
