"""What the Dockerfile's stages set, each with what it has from those it builds on."""

from __future__ import annotations

from pathlib import Path

import dockerfile


def environments(path: Path) -> dict[str, dict[str, str]]:
    """The variables that each stage's image sets, by the stage's name."""
    found: dict[str, dict[str, str]] = {}
    now: dict[str, str] = {}
    for command in dockerfile.parse_file(str(path)):
        if command.cmd == "FROM":
            now = found[command.value[-1]] = dict(found.get(command.value[0], {}))
        elif command.cmd == "ENV":
            now |= dict(zip(command.value[::2], command.value[1::2], strict=True))
    return found


def arguments(path: Path) -> set[str]:
    """The build arguments that any stage takes."""
    return {
        command.value[0].partition("=")[0]
        for command in dockerfile.parse_file(str(path))
        if command.cmd == "ARG"
    }
