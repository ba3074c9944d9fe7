"""The name of a policy, as agents request it and calls record it: ``LINEAGE@STEP``."""

from __future__ import annotations

import re

# Not \d and not isdigit(), which take "٣" and "²" too. Bounded: a name is arbitrary text, and int()
# of a long one is slow; nine digits fit into Postgres' integer.
STEP = r"[0-9]{1,9}"
_STEP = re.compile(STEP)
_NAMED = re.compile(rf"@({STEP})\Z")


def policy_name(lineage: str, step: int) -> str:
    """Name a lineage's policy after a step; step 0 is the base model."""
    return f"{lineage}@{step}"


def step_number(text: str) -> int | None:
    """Read a step's number, as in a folder's name; None where it is none."""
    return int(text) if _STEP.fullmatch(text) else None


def policy_step(model: str) -> int | None:
    """Find the checkpoint in a model's name, 12 in ``babylon@12``; None where it names none."""
    named = _NAMED.search(model)
    return int(named[1]) if named else None
