"""Stand-in for datasets, of which ART makes one that nobody reads."""

from __future__ import annotations

from typing import Any


class Dataset:
    """Rows that are not kept."""

    @classmethod
    def from_list(cls, _: list[Any]) -> Dataset:
        return cls()
