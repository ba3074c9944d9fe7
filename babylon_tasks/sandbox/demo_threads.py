"""With how many threads torch computes in the miniature demo."""

from __future__ import annotations

import os

from babylon_tasks.read_settings import given_values
from babylon_tasks.settings import Settings
from babylon_tasks.training.machine import OPENMP, usable_cores

_SETTING = "BABYLON_TORCH_THREADS"


def demo_threads() -> dict[str, str]:
    """Return the setting that lets torch have every usable core; nothing where something is set.

    Elsewhere one core is left to the other processes. Those of this demo wait while torch computes:
    four windows on two cores took 126 s instead of 164 s (measured). Raises SettingsError.
    """
    if _SETTING in given_values(Settings) or OPENMP in os.environ:
        return {}
    return {_SETTING: str(usable_cores())}
