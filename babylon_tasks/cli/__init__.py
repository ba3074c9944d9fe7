"""``babylon-tasks``: everything that is done by hand. One file a noun; ``main`` is the entry."""

from __future__ import annotations

from babylon_tasks.cli.program import main

__all__ = ["main"]
