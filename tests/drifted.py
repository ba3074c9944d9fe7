"""What `make check` finds where what is deployed does not fit the code."""

from __future__ import annotations

from pathlib import Path

from copies import Broken, change

from checks.drift.check import check

PRODUCTION = ("overlays/production",)
MINIMAL = ("overlays/minimal",)
SERVERLESS = ("overlays/production", "serverless")
TO_ZERO = (*SERVERLESS, "scale-to-zero")


def found(folder: Path, *which: tuple[str, ...]) -> list[str]:
    violations, _ = check(folder, which)
    return [str(violation) for violation in violations]


def assert_refused(folder: Path, broken: Broken) -> None:
    """Break the copy of what is deployed; a violation must say so."""
    change(folder / broken.file, broken.old, broken.new)
    violations = found(folder, broken.rendering)
    assert any(broken.expected in violation for violation in violations), violations
