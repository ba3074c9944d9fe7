"""compose.yaml and its overrides: the specification's schema, and our laws.

``python -m checks.compose [FOLDER]``; the laws are in checks/compose_laws.py. Compose itself can
be asked too, without an engine, where it is installed: ``docker compose config --quiet``.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from checks.compose_laws import LAWS, override_faults
from checks.composition import Composition, schema_faults
from checks.faults import Fault, end

MAIN = "compose.yaml"


def check(folder: Path) -> list[Fault]:
    """Every fault of the folder's Compose files."""
    faults: list[Fault] = []
    read: dict[str, Composition] = {}
    for path in sorted(folder.glob("compose*.yaml")):
        try:
            read[path.name] = Composition(path)
        except ValueError as error:
            faults.append(Fault(path.name, f"cannot be read: {error}"))
    for composition in read.values():
        faults += schema_faults(composition)
    main = read.get(MAIN)
    if faults or main is None:
        return faults or [Fault(MAIN, f"is not in {folder}")]
    version = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    for law in LAWS:
        faults += law(main, version)
    for name, composition in read.items():
        if name != MAIN:
            faults += override_faults(composition, main, version)
    return faults


def main() -> None:
    """Check the folder named by the first argument, the current one by default."""
    faults = check(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    end("Compose", faults, "the specification's schema and our laws hold")


if __name__ == "__main__":
    main()
