"""A gradient step whose figures are not finite ends the training step."""

from __future__ import annotations

import math
from collections.abc import Mapping

from babylon_tasks.errors import TrainingError


def refuse_divergence(measured: Mapping[str, float], setting: str) -> None:
    """Raise TrainingError where a figure is not finite; ``setting``: the rate to lower."""
    bad = [key for key, value in measured.items() if not math.isfinite(value)]
    if bad:
        raise TrainingError(
            f"training diverged: {', '.join(bad)} is not finite; the step is discarded, "
            f"lower {setting} if it happens again"
        )
