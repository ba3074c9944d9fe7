"""The result of one check of `doctor`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

CheckResult = Literal["ok", "warn", "fail"]


class Finding(Struct, frozen=True):
    """One line of the doctor's report; ``todo`` is None if it is ok."""

    check: str
    outcome: CheckResult
    detail: str
    todo: str | None = None


def finding(
    check: str, well: bool, detail: str, todo: str, *, otherwise: CheckResult = "fail"
) -> Finding:
    """Make a finding from a condition, with ``todo`` only where it is not met."""
    return Finding(check, "ok" if well else otherwise, detail, None if well else todo)
