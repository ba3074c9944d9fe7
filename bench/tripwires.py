"""What the tripwires cost before a large step: ``python -m bench.tripwires --trajectories 20000``.

The groups of one window, each trajectory with three calls of 3,000 characters, all prompts
different, and full of words that need a second look. Prints the seconds of one pass, the memory
that it takes beside the groups, and the kilobytes that stay in the database.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import tracemalloc

import msgspec

from babylon_tasks.dataset.tripwires.examine import Examined, examine
from babylon_tasks.dataset.tripwires.figures import KEPT
from babylon_tasks.dataset.tripwires.watched import MemberFacts
from babylon_tasks.records import Group, LlmCall, Member

_WORDS = ("balance", "market", "outcome", "YES", "NO", "price", "rising", "resolution", "friends")
_GROUP = 16
_CALLS = 3
_TOKENS = 60


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectories", type=int, default=20_000)
    parser.add_argument("--characters", type=int, default=3000, help="of a prompt")
    asked = parser.parse_args()
    groups, facts = window(asked.trajectories, asked.characters)
    parts = (groups[20 * number :][:20] for number in range(KEPT))
    history = [examine(part, facts, "default", []).figures for part in parts]
    began = time.perf_counter()
    examined = examine(groups, facts, "default", history)
    seconds = time.perf_counter() - began
    sys.stdout.write(
        f"{asked.trajectories} trajectories, {_CALLS} prompts of {asked.characters} characters: "
        f"{seconds:.1f} s, {peak(groups, facts) / 2**20:.0f} MiB beside them, "
        f"{kept(examined) / 1000:.1f} kB kept, tripped: {len(examined.trips)}\n"
    )


def window(trajectories: int, characters: int) -> tuple[list[Group], dict[str, MemberFacts]]:
    """Make groups of one window."""
    draw = random.Random(1)
    facts = {}
    members = []
    for number in range(trajectories):
        name = f"t-{number}"
        calls = tuple(_call(draw, f"{name}/{call}", characters) for call in range(_CALLS))
        facts[name] = MemberFacts(
            f"agent-{number % 5000}", "trader", draw.uniform(-1, 1), ((f"m-{number % 9}", True),)
        )
        members.append(Member(name, draw.random(), calls))
    return [
        Group("w", f"market=m-{start % 9}", tuple(members[start : start + _GROUP]))
        for start in range(0, trajectories, _GROUP)
    ], facts


def peak(groups: list[Group], facts: dict[str, MemberFacts]) -> int:
    """Return the most bytes that a pass allocates."""
    tracemalloc.start()
    examine(groups, facts, "default", [])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def kept(examined: Examined) -> int:
    """Return the size of the figures, as JSON."""
    return len(msgspec.json.encode(examined.figures))


def _call(draw: random.Random, name: str, characters: int) -> LlmCall:
    text = f"{name} " + " ".join(draw.choices(_WORDS, k=characters // 7))
    return LlmCall(
        "m", (("system", "Trade."), ("user", text)), name, 1.0, logprobs=(-0.7,) * _TOKENS
    )


if __name__ == "__main__":
    main()
