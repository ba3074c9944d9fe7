"""One figure for Prometheus."""

from __future__ import annotations

from msgspec import Struct


class Sample(Struct, frozen=True):
    """One figure of a family, with a value for each of its labels."""

    family: str
    value: float
    labels: dict[str, str] = {}
