"""Check the Dockerfile: hadolint, and our rules: ``python -m checks.dockerfile [FOLDER]``.

Parsed with BuildKit's own parser (package dockerfile), so the check sees what is built. checkov
checks it too (checks/policy.py).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import dockerfile

from checks.stages import BuildStage, arguments, stages
from checks.violations import Violation, end, folder, report

# The instructions that an image must end with, and why.
_ENDS = {
    "USER": (("10001:10001",), "not root, and a number that k8s/ can check"),
    "STOPSIGNAL": (("SIGTERM",), "on which our processes stop in order"),
    "HEALTHCHECK": (
        ("CMD", "python", "-m", "babylon_tasks.probe"),
        "which asks the process's own /livez",
    ),
    "ENTRYPOINT": (
        ("tini", "--", "babylon-tasks"),
        "as a list: a shell or Python as process 1 would neither pass signals on nor reap what a "
        "killed trainer leaves",
    ),
}
_OWN_ENDS = {
    "gateway": {
        "HEALTHCHECK": (
            ("CMD", "python", "-m", "babylon_tasks.probe", "gateway"),
            "which asks the gateway's own /healthz",
        )
    }
}
# What no instruction may contain.
_REFUSED = {
    r"https?://(?!127\.0\.0\.1[:/'])|://[^/\s:@]*:[^/\s@]+@": "an address is written down; pass it "
    "as a build argument or in pip.conf",
    r"^RUN\b.*\b(curl|wget)\b": "downloads past apt and pip, unverified; install a package instead",
    r"^COPY +\.?/? ": "COPY of the whole context; name the files that the image needs",
}
_BASE = re.compile(r"\$\{?(\w+)\}?")


def check(root: Path) -> list[Violation]:
    """List every violation of a folder's Dockerfile and .dockerignore."""
    path = root / "Dockerfile"
    try:
        commands = dockerfile.parse_file(str(path))
    except dockerfile.GoParseError as error:
        return [Violation("Dockerfile", f"cannot be parsed: {error}")]
    found = [*_hadolint(path), *_context(root)]
    for command in commands:
        where = f"Dockerfile:{command.start_line}"
        for pattern, what in _REFUSED.items():
            if re.search(pattern, command.original, re.DOTALL):
                found.append(Violation(where, what))
        if command.cmd == "RUN" and not _pinned(command.original):
            what = "pip install without --constraint: versions must be pinned"
            found.append(Violation(where, what))
    images = stages(commands)
    for stage in images.values():
        if stage.base not in images:
            found += _external(stage, arguments(commands))
    for name in ("worker", "gateway", "trainer"):
        if name in images:
            found += _ends(name, images[name])
        else:
            found.append(Violation("Dockerfile", f"has no target {name}"))
    return found


def _hadolint(path: Path) -> Iterator[Violation]:
    program = Path(sys.executable).with_name("hadolint")
    for one in report([program, "--format", "json", path]):
        yield Violation(f"Dockerfile:{one['line']}", f"hadolint {one['code']}: {one['message']}")


def _pinned(script: str) -> bool:
    pins = re.compile(r"--constraint|--no-deps|--requirement")
    installs = re.compile(r"\bpip\b.*\binstall\b", re.DOTALL)
    return all(pins.search(step) for step in re.split("&&|;", script) if installs.search(step))


def _external(stage: BuildStage, known: dict[str, str]) -> Iterator[Violation]:
    where = f"Dockerfile:{stage.line}"
    argument = _BASE.fullmatch(stage.base)
    image = known.get(argument[1], "") if argument else stage.base
    if argument is None:
        what = f"{image} is not an ARG: an operator could not pin or replace it"
        yield Violation(where, what)
    if not re.search(r":(?!latest$)[^/]+$", image):
        what = f"the base image {image} has no fixed tag; name a release or a digest"
        yield Violation(where, what)


def _ends(name: str, stage: BuildStage) -> Iterator[Violation]:
    for instruction, (wanted, why) in {**_ENDS, **_OWN_ENDS.get(name, {})}.items():
        last = stage.last(instruction)
        if last is None or last.value != wanted:
            where = f"Dockerfile:{last.start_line if last else stage.line}: {name}"
            have = " ".join(last.value) if last else "(none)"
            what = f"{instruction} {have}: must be {' '.join(wanted)}, {why}"
            yield Violation(where, what)


def _context(root: Path) -> Iterator[Violation]:
    ignore = root / ".dockerignore"
    lines = ignore.read_text("utf-8").splitlines() if ignore.exists() else []
    if next((line for line in lines if line and not line.startswith("#")), None) != "*":
        what = "must begin with * and name what is included: secrets/ is beside it"
        yield Violation(".dockerignore:1", what)


if __name__ == "__main__":
    end("Dockerfile", check(folder()), "hadolint and our rules are satisfied")
