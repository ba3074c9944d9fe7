"""A card that answers with an error no longer works for this process: the trainer ends itself."""

from __future__ import annotations

import os
import sys

_EXIT_CODE = 4


def end_if_lost(error: BaseException) -> None:
    """End the process if CUDA has failed: it refuses whatever this process asks of it from now on.

    The worker starts another trainer, and a step that was running is recovered. A card without
    memory left is not lost. Called where an error is reported: after the report, if there is one.
    """
    if is_lost(error):
        print(f"the card is lost to this trainer, which ends: {error}", file=sys.stderr, flush=True)
        os._exit(_EXIT_CODE)


def is_lost(error: BaseException) -> bool:
    """Check whether an error is CUDA's, by itself or by what it was raised from. PURE."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__name__ == "AcceleratorError":  # torch's, which is not imported here
            return True
        seen = seen.__cause__
    return False
