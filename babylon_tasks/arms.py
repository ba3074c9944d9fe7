"""Which of a comparison's arms an agent is in for an hour, and what answers it there. Pure.

Control keeps the anchor: the last proven checkpoint, or before there is one the model that agents
used. The examinee arm gets one checkpoint on trial. All others get the serving checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set
from enum import StrEnum

from msgspec import Struct, structs


class Arm(StrEnum):
    """A part of the agents that one policy answers."""

    SERVING = "serving"
    CONTROL = "control"
    EXAMINEE = "examinee"


class Arms(Struct, frozen=True, kw_only=True):
    """The shares of two arms from an hour on, and their policies; a row of ``training.arms``.

    ``control_step`` or ``control_model`` is the anchor. ``salt`` contains no ``|``.
    """

    from_window: str
    salt: str
    control_share: float = 0.0
    control_step: int | None = None
    control_model: str | None = None
    examinee_share: float = 0.0
    examinee_step: int | None = None


class Assignment(Struct, frozen=True):
    """What answers an agent for an hour: ``step`` or ``model``, else the serving checkpoint.

    ``arm`` is None where the agent has no name and so was not drawn.
    """

    arm: Arm | None
    step: int | None = None
    model: str | None = None


def in_force(rows: Sequence[Arms], window: str) -> Arms | None:
    """Find the last of the rows, in the order of their decisions, whose hour has begun."""
    return next((one for one in reversed(rows) if one.from_window <= window), None)


def assign(arms: Arms, agent: str | None, window: str) -> Assignment:
    """Draw an agent's arm for an hour.

    An agent without a name gets the largest arm: nobody knows how many agents share that, and at
    the beginning of a ramp they must not all get the new policy.
    """
    arm = _largest(arms) if agent is None else draw(arms, agent, window)
    drawn = None if agent is None else arm
    match arm:
        case Arm.CONTROL:
            return Assignment(drawn, arms.control_step, arms.control_model)
        case Arm.EXAMINEE:
            return Assignment(drawn, arms.examinee_step)
        case Arm.SERVING:
            return Assignment(drawn)


def without(arms: Arms, steps: Set[int]) -> Arms:
    """End the arms that have one of these checkpoints; the others stay, with the same agents."""
    if arms.control_step in steps:
        arms = structs.replace(arms, control_share=0.0, control_step=None)
    if arms.examinee_step in steps:
        arms = structs.replace(arms, examinee_share=0.0, examinee_step=None)
    return arms


def draw(arms: Arms, agent: str, window: str) -> Arm:
    """Draw the arm of an agent for an hour, from a hash: the same for whoever asks."""
    digest = hashlib.blake2b(f"{arms.salt}|{agent}|{window}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < arms.control_share:
        return Arm.CONTROL
    return Arm.EXAMINEE if place < arms.control_share + arms.examinee_share else Arm.SERVING


def _largest(arms: Arms) -> Arm:
    shares = {
        Arm.SERVING: 1 - arms.control_share - arms.examinee_share,
        Arm.CONTROL: arms.control_share,
        Arm.EXAMINEE: arms.examinee_share,
    }
    return max(shares, key=lambda arm: shares[arm])
