"""Ask for known vulnerabilities of every pinned package: ``python -m checks.advisories NPM...``.

pip-audit asks PyPI, which repeats the advisories of OSV, and OSV itself where PyPI has none; npm,
which the arguments start, asks its registry. Where nobody can be reached nothing is known: that is
printed, and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from checks.violations import SECONDS, Violation, end

SUPPLY = Path(f"{sys.prefix}-supply")  # as in the Makefile
PINS = (
    "constraints.txt",
    "constraints-gpu.txt",
    "requirements-checks.txt",
    "requirements-node.txt",
    "requirements-supply.txt",
)
_SOURCES = ("pypi", "osv")
_DO = "pin another release, or say in checks/advisories.py why it is no concern"
# Advisories that do not concern us, and why.
IGNORED: Mapping[str, str] = {}


class Unreachable(Exception):
    """No source of advisories answered."""


def audit(pins: Path, program: Path, sources: Sequence[str] = _SOURCES) -> list[Violation]:
    """List known vulnerabilities of what is pinned; raises Unreachable if no source answers."""
    reasons = []
    for source in sources:
        command = [program, f"--vulnerability-service={source}", "--requirement", pins]
        given = [*command, "--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
        try:
            done = _run(given)
        except subprocess.TimeoutExpired as error:
            reasons.append(f"{source}: {error}")
            continue
        try:
            packages = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            reasons.append(f"{source}: {_last_line(done.stderr)}")
            continue
        # What a mirror without advisories does not know is skipped, and would look clean.
        known = [one for one in packages if "vulns" in one]
        if known:
            return [*_vulnerable(pins.name, known), *_unknown(pins.name, packages)]
        reasons.append(f"{source}: knows none of the packages")
    raise Unreachable("; ".join(reasons))


def _run(
    command: Sequence[str | Path], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=SECONDS
    )


def audit_npm(folder: Path, npm: Sequence[str]) -> list[Violation]:
    """List known vulnerabilities of what the folder's lock pins; raises Unreachable."""
    command = [*npm, "audit", "--json", "--package-lock-only"]
    try:
        done = _run(command, cwd=folder)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"npm: {error}") from None
    try:
        answer = json.loads(done.stdout)
        packages = answer["vulnerabilities"].values()
    except ValueError:
        raise Unreachable(f"npm: {_last_line(done.stderr)}") from None
    except KeyError:
        raise Unreachable(f"npm: {answer.get('message', 'no answer')}") from None
    # What a package has from one below it is that one's name; that one is listed itself.
    advisories = [found for one in packages for found in one["via"] if isinstance(found, dict)]
    return [
        Violation(f"package-lock.json: {found['name']}", f"{name}; affects {found['range']}: {_DO}")
        for found in advisories
        if (name := found["url"].rpartition("/")[2]) not in IGNORED
    ]


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
    return f"{names}; fixed in {fixed}: {_DO}"


def _unknown(file: str, packages: Sequence[Mapping[str, Any]]) -> list[Violation]:
    return [
        Violation(f"{file}: {one['name']}", f"was not audited: {one['skip_reason']}")
        for one in packages
        if "skip_reason" in one
    ]


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "no answer"


def audit_all(audits: Mapping[str, Callable[[], list[Violation]]]) -> None:
    """Audit files and end the process, with 1 where one has a vulnerability; print what is not."""
    found, unreached = [], []
    with ThreadPoolExecutor() as pool:  # they wait for servers
        running = {name: pool.submit(audited) for name, audited in audits.items()}
    for name, audited in running.items():
        try:
            found += audited.result()
        except Unreachable as error:
            print(f"Advisories: {name} NOT CHECKED, no source can be reached ({error})")
            unreached.append(name)
    if found or not unreached:
        end("Advisories", found, "no known vulnerability in what is pinned")


def main() -> None:
    """Audit what the current folder pins."""
    pip_audit, typescript = SUPPLY / "bin" / "pip-audit", Path("typescript")
    audits = {name: partial(audit, Path(name), pip_audit) for name in PINS}
    audit_all(audits | {"package-lock.json": partial(audit_npm, typescript, sys.argv[1:])})


if __name__ == "__main__":
    main()
