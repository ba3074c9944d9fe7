"""Ask for known vulnerabilities of every pinned package: ``python -m checks.advisories``.

pip-audit asks PyPI, which repeats the advisories of OSV, and OSV itself where PyPI has none. Where
neither can be reached nothing is known: that is printed, and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from checks.violations import Violation, end

SUPPLY = Path(f"{sys.prefix}-supply")  # as in the Makefile
PINS = ("constraints.txt", "constraints-gpu.txt")
_SOURCES = ("pypi", "osv")
# Advisories that do not concern us, and why.
IGNORED: Mapping[str, str] = {}


class Unreachable(Exception):
    """No source of advisories answered."""


def audit(pins: Path, program: Path, sources: Sequence[str] = _SOURCES) -> list[Violation]:
    """List known vulnerabilities of what is pinned; raises Unreachable if no source answers."""
    reasons = []
    for source in sources:
        command = [program, f"--vulnerability-service={source}", "--requirement", pins]
        done = subprocess.run(
            [*command, "--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"],
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            packages = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            reasons.append(f"{source}: {done.stderr.strip().rpartition(chr(10))[2] or 'no answer'}")
            continue
        # What a mirror without advisories does not know is skipped, and would look clean.
        known = [one for one in packages if "vulns" in one]
        if known:
            return [*_vulnerable(pins.name, known), *_unknown(pins.name, packages)]
        reasons.append(f"{source}: knows none of the packages")
    raise Unreachable("; ".join(reasons))


def _vulnerable(file: str, packages: Sequence[Mapping[str, Any]]) -> list[Violation]:
    return [
        Violation(f"{file}: {one['name']} {one['version']}", _advisory(found))
        for one in packages
        for found in one["vulns"]
        if not {found["id"], *found.get("aliases", [])} & set(IGNORED)
    ]


def _advisory(found: Mapping[str, Any]) -> str:
    names = ", ".join([found["id"], *found.get("aliases", [])])
    fixed = ", ".join(found.get("fix_versions") or []) or "no release"
    return (
        f"{names}; fixed in {fixed}: pin that, or say in checks/advisories.py why it is no concern"
    )


def _unknown(file: str, packages: Sequence[Mapping[str, Any]]) -> list[Violation]:
    return [
        Violation(f"{file}: {one['name']}", f"was not audited: {one['skip_reason']}")
        for one in packages
        if "skip_reason" in one
    ]


def main() -> None:
    """Audit the constraints in the current folder."""
    audit_all(PINS, SUPPLY / "bin" / "pip-audit")


def audit_all(names: Sequence[str], program: Path) -> None:
    """Audit files and end the process, with 1 where one has a vulnerability; print what is not."""
    found, unreached = [], []
    for name in names:
        try:
            found += audit(Path(name), program)
        except Unreachable as error:
            print(f"Advisories: {name} NOT CHECKED, no source can be reached ({error})")
            unreached.append(name)
    if found or not unreached:
        end("Advisories", found, "no known vulnerability in what is pinned")


if __name__ == "__main__":
    main()
