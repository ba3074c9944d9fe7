"""The name of a policy, as agents request it and calls record it: ``LINEAGE@STEP``."""

from __future__ import annotations

import re

# Bounded: a name is arbitrary text, and int() of a long one is slow.
_STEP = re.compile(r"@(\d{1,9})\Z")


def policy_step(model: str) -> int | None:
    """Find the checkpoint in a model's name, 12 in ``babylon@12``; None where it names none."""
    named = _STEP.search(model)
    return int(named[1]) if named else None
