"""How long a request waited for others, which is no share of the gateway's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Wait:
    """``seconds`` of all waits together."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def more(self) -> Iterator[None]:
        """Add what the block takes, however it ends."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - begun
