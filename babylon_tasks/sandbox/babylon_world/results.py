"""What models came to in the likeness of Babylon, as the demo reports it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from babylon_tasks.comparison.parameters import Ramp
from babylon_tasks.sandbox.babylon_world.answers import Act, is_right
from babylon_tasks.sandbox.babylon_world.markets import BabylonMarket

# Of all answers, and of the trades. A coin is right in half of them: of 60 it reaches this in one
# of 750 evaluations. From a coin, GRPO follows the luck of a window to one side.
ENOUGH_VALID, ENOUGH_RIGHT = 0.9, 0.7


class ModelShares(Struct, frozen=True):
    """A model's results on a set of markets; shares in [0, 1]."""

    model: str
    n: int
    valid: float
    right_of_trades: float
    right_of_all: float


class PlayedHour(Struct, frozen=True):
    """An hour of the ramp: ``share`` of the agents was ours, ``external`` has the others.

    ``concluded`` is what the comparison made of it; None where it compared nothing.
    """

    window: str
    share: float
    step: int | None
    served_step: int
    decision: str | None
    concluded: str | None
    ours: ModelShares
    external: ModelShares


class BabylonReport(Struct, frozen=True):
    """The content of the ``--report`` file; ``warm_start`` has each evaluation on the way."""

    warm_start: list[ModelShares]
    windows: list[PlayedHour]
    evaluation: list[ModelShares]
    seconds: float


def shares(model: str, turns: Sequence[tuple[BabylonMarket, Act]]) -> ModelShares:
    """Compute a model's results."""
    n = max(1, len(turns))
    trades = max(1, sum(done.yes is not None for _, done in turns))
    valid = sum(done.valid for _, done in turns)
    right = sum(is_right(market, done) for market, done in turns)
    return ModelShares(model, len(turns), valid / n, right / trades, right / n)


def is_enough(found: ModelShares) -> bool:
    """Check whether a warm start may end: its policy is no coin any more."""
    return found.valid >= ENOUGH_VALID and found.right_of_trades >= ENOUGH_RIGHT


def is_at_the_top(played: Sequence[PlayedHour], hours: int) -> bool:
    """Check whether so many hours in a row had the ramp's largest share."""
    top = Ramp().shares[-1]
    newest = played[-hours:]
    return len(newest) == hours and all(one.share >= top for one in newest)


def short_of_the_top(played: Sequence[PlayedHour], hours: int) -> str | None:
    """Say which share was reached where the ramp's largest was not, for so many hours in a row."""
    if not played or is_at_the_top(played, hours):
        return None
    top, most = Ramp().shares[-1], max(one.share for one in played)
    return (
        f"after hour {len(played)}, {played[-1].share:.0%} of the agents are ours, at most "
        f"{most:.0%} were; the end is {hours} hours in a row at {top:.0%}"
    )


def described(found: ModelShares) -> str:
    """Write results for people."""
    return (
        f"{found.model}: {found.valid:.0%} valid JSON, right in {found.right_of_trades:.0%} of its "
        f"trades, {found.right_of_all:.0%} of all {found.n} answers"
    )
