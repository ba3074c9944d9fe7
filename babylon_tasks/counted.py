"""Numbers of things in words. Pure."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Say how many there are: 1 window, 2 windows, 3 trajectories."""
    many = f"{what[:-1]}ies" if what.endswith("ry") else f"{what}s"
    return f"{number} {what if number == 1 else many}"
