"""The Dockerfile: hadolint and the laws it does not know: ``python -m checks.dockerfile [FOLDER]``.

Read with BuildKit's own parser (package dockerfile), so what is judged is what is built.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dockerfile

from checks.faults import Fault, end
from checks.secrecy import holds_login, names_secret

TARGETS = ("worker", "trainer")
_ADDRESS = re.compile(r"https?://(?!127\.0\.0\.1[:/'])")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass
class Stage:
    """One FROM and the instructions that follow it."""

    name: str
    parent: str
    line: int
    commands: list[dockerfile.Command] = field(default_factory=list)


def check(folder: Path) -> list[Fault]:
    """Every fault of the folder's Dockerfile and .dockerignore."""
    path = folder / "Dockerfile"
    try:
        commands = dockerfile.parse_file(str(path))
    except dockerfile.GoParseError as error:
        return [Fault("Dockerfile", f"cannot be parsed: {error}")]
    faults = [*_hadolint(path), *_every_instruction(commands), *_stages(commands)]
    return [*faults, *_context(folder)]


def _hadolint(path: Path) -> Iterator[Fault]:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [program, "--format", "json", path], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"hadolint failed with {done.returncode}: {done.stderr.strip()}")
    for found in json.loads(done.stdout):
        yield Fault(f"Dockerfile:{found['line']}", f"hadolint {found['code']}: {found['message']}")


def _every_instruction(commands: tuple[dockerfile.Command, ...]) -> Iterator[Fault]:
    for command in commands:
        where, text = f"Dockerfile:{command.start_line}", command.original
        if command.cmd == "ADD":
            yield Fault(where, "ADD fetches and unpacks unseen; use COPY of a named path")
        if command.cmd in ("ENV", "ARG"):
            named = command.value[::2] if command.cmd == "ENV" else command.value
            for name in (part.split("=")[0] for part in named):
                if names_secret(name):
                    yield Fault(
                        where,
                        f"{command.cmd} {name} stays in the image's history; mount a secret for "
                        "the step that needs it (RUN --mount=type=secret), or at run time",
                    )
        if _ADDRESS.search(text) or holds_login(text):
            yield Fault(
                where, "an address is written down; pass it as a build argument or in pip.conf"
            )
        if command.cmd == "COPY" and command.value[0] in (".", "./") and not command.flags:
            yield Fault(where, "COPY of the whole context; name the files that the image needs")
        if command.cmd == "RUN":
            yield from _run(where, text)


def _run(where: str, text: str) -> Iterator[Fault]:
    for step in re.split(r"&&|;", text):
        installs = re.search(r"\bpip\b.*\binstall\b", step, re.DOTALL)
        pinned = re.search(r"--constraint|--no-deps|--requirement", step)
        if installs and not pinned:
            yield Fault(where, "pip install without --constraint: versions must be pinned")
    if re.search(r"\b(curl|wget)\b", text):
        yield Fault(where, "downloads past apt and pip, unverified; install a package instead")


def _stages(commands: tuple[dockerfile.Command, ...]) -> Iterator[Fault]:
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    last: Stage | None = None
    for command in commands:
        if command.cmd == "FROM":
            parent = _VARIABLE.sub(lambda m: arguments.get(m[1], m[0]), command.value[0])
            name = command.value[-1] if len(command.value) == 3 else str(len(stages))
            last = stages[name] = Stage(name, parent, command.start_line)
            if parent not in stages:
                yield from _external(command, parent)
        elif last is None:
            name, _, value = command.value[0].partition("=")
            arguments[name] = value
        else:
            last.commands.append(command)
    for name in TARGETS:
        if name not in stages:
            yield Fault("Dockerfile", f"has no target {name}")
        else:
            yield from _target(stages, stages[name])


def _external(command: dockerfile.Command, image: str) -> Iterator[Fault]:
    where = f"Dockerfile:{command.start_line}"
    _, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    if tag in ("", "latest") and "@sha256:" not in image:
        yield Fault(where, f"the base image {image} has no fixed tag; name a release or a digest")
    if not command.value[0].startswith("$"):
        yield Fault(where, f"{image} is not an ARG: an operator could not pin or replace it")


def _target(stages: dict[str, Stage], stage: Stage) -> Iterator[Fault]:
    chain = [stage]
    while chain[-1].parent in stages:
        chain.append(stages[chain[-1].parent])
    commands = [command for part in reversed(chain) for command in part.commands]

    def last(name: str) -> dockerfile.Command | None:
        return next((c for c in reversed(commands) if c.cmd == name), None)

    def where(command: dockerfile.Command | None) -> str:
        return f"Dockerfile:{command.start_line if command else stage.line}: {stage.name}"

    user = last("USER")
    number = user.value[0].split(":")[0] if user else "root"
    if not number.isdigit() or int(number) == 0:
        yield Fault(
            where(user), f"runs as {number}; end with USER 10001:10001, a number other than 0"
        )
    health = last("HEALTHCHECK")
    if health is None or health.value[0] == "NONE":
        yield Fault(where(health), "has no HEALTHCHECK; ask the process's own /livez")
    entry = last("ENTRYPOINT")
    if entry is None or not entry.json or entry.value != ("tini", "--", "babylon-tasks"):
        yield Fault(
            where(entry),
            'its ENTRYPOINT must be ["tini", "--", "babylon-tasks"], as a list: a shell or Python '
            "as process 1 would neither pass signals on nor bury what a killed trainer leaves",
        )
    signal = last("STOPSIGNAL")
    if signal is None or signal.value[0] != "SIGTERM":
        yield Fault(where(signal), "needs STOPSIGNAL SIGTERM, on which our processes stop in order")


def _context(folder: Path) -> Iterator[Fault]:
    ignore = folder / ".dockerignore"
    lines = ignore.read_text("utf-8").splitlines() if ignore.exists() else []
    rules = [line for line in lines if line and not line.startswith("#")]
    if not rules or rules[0] != "*":
        yield Fault(
            ".dockerignore:1", "must begin with * and name what is let in: secrets/ lies beside it"
        )


def main() -> None:
    """Check the folder named by the first argument, the current one by default."""
    faults = check(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    end("Dockerfile", faults, "hadolint and our laws hold")


if __name__ == "__main__":
    main()
