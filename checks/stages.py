"""The Dockerfile's stages, each with the instructions that it inherits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dockerfile


@dataclass(frozen=True)
class BuildStage:
    """One FROM, and every instruction of its image in order."""

    line: int
    base: str
    commands: tuple[dockerfile.Command, ...]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that its image sets."""
        pairs = [c.value for c in self.commands if c.cmd == "ENV"]
        return {
            name: value for one in pairs for name, value in zip(one[::2], one[1::2], strict=True)
        }

    def last(self, instruction: str) -> dockerfile.Command | None:
        """Find the last of these instructions, which takes effect."""
        return next((c for c in reversed(self.commands) if c.cmd == instruction), None)


def stages(commands: tuple[dockerfile.Command, ...]) -> dict[str, BuildStage]:
    """List the stages by name; ``base`` is as written."""
    found: dict[str, BuildStage] = {}
    name = ""
    for command in commands:
        if command.cmd == "FROM":
            name, base = command.value[-1], command.value[0]
            before = found[base].commands if base in found else ()
            found[name] = BuildStage(command.start_line, base, before)
        elif name:
            stage = found[name]
            found[name] = BuildStage(stage.line, stage.base, (*stage.commands, command))
    return found


def arguments(commands: tuple[dockerfile.Command, ...]) -> dict[str, str]:
    """List the build arguments of any stage, with their defaults."""
    pairs = [c.value[0].partition("=") for c in commands if c.cmd == "ARG"]
    return {name: default for name, _, default in pairs}


def environments(path: Path) -> dict[str, dict[str, str]]:
    """List the variables that each stage's image sets, by the stage's name."""
    found = stages(dockerfile.parse_file(str(path)))
    return {name: stage.environment for name, stage in found.items()}
