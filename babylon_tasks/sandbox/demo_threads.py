"""With how many threads torch computes in the miniature demo."""

from __future__ import annotations

import os
from collections.abc import Mapping

from babylon_tasks.training.machine import OPENMP, usable_cores

_SETTING = "BABYLON_TORCH_THREADS"


def demo_threads(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the setting that lets torch have every usable core; nothing where something is set.

    Elsewhere one core is left to the other processes. Those of this demo wait while torch computes:
    four windows on two cores took 126 s instead of 164 s (measured).
    """
    if _SETTING in environment or OPENMP in environment:
        return {}
    return {_SETTING: str(usable_cores())}
