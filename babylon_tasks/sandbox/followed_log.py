"""A worker's log, read while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec


class FollowedLog:
    """What a log of JSON lines has got since it was last read; other lines are passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def failed_starts(self) -> Iterator[str]:
        """List why a trainer did not start, each failure once."""
        for line in self._new_lines():
            try:
                entry: Any = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(entry, dict) and entry.get("event") == "serving.failed":
                trace = str(entry.get("exception", "")).strip().splitlines()
                yield str(entry.get("why") or (trace[-1] if trace else "no reason given"))

    def _new_lines(self) -> list[bytes]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as log:
            log.seek(self._offset)
            found = log.read()
        whole, newline, _ = found.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return whole.splitlines()
