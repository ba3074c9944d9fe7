"""``babylon-tasks``, the command line: one file per noun; ``main`` is the entry point."""

from __future__ import annotations

from babylon_tasks.cli.program import main

__all__ = ["main"]
