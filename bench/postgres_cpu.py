"""What an embedded Postgres has used of the CPU."""

from __future__ import annotations

import os
from pathlib import Path

from babylon_tasks.sandbox.servers import EmbeddedPostgres


def cpu_of(postgres: EmbeddedPostgres) -> float:
    """Sum the CPU seconds of the server's processes, those that have ended included."""
    first = str(postgres.pid)
    ticks = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile, and counts as its parent's
                continue
            if folder.name == first:
                ticks += sum(map(int, fields[11:15]))
            elif fields[1] == first:
                ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
