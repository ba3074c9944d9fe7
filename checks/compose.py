"""compose.yaml and its overrides: ``python -m checks.compose [FOLDER]``.

They are checked against the specification's schema (from check-jsonschema), compose-lint, and our
rules: checks/rules/compose.yaml for single files, below for what must fit together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema.validators import validator_for

from checks import redis
from checks.compose_file import ComposeFile
from checks.schemas import RULES, broken, rules
from checks.violations import Violation, end, folder, report

MAIN = "compose.yaml"


def check(root: Path) -> list[Violation]:
    """List every violation of the Compose files in a folder."""
    found: list[Violation] = []
    read: dict[str, ComposeFile] = {}
    for path in sorted(root.glob("compose*.yaml")):
        try:
            read[path.name] = ComposeFile(path)
        except ValueError as error:
            found.append(Violation(path.name, f"cannot be read: {error}"))
    for file in read.values():
        found += _of_schema(_specification(), file)
    main = read.pop(MAIN, None)
    if found or main is None:
        return found or [Violation(MAIN, f"is not in {root}")]
    found += _of_schema(rules("compose.yaml", "main_file"), main)
    found += [*_compose_lint(root / MAIN), *_declared(main), *_keeps_messages(main)]
    for override in read.values():
        found += _of_schema(rules("compose.yaml", "override"), override)
        for name in set(override.services) - set(main.services):
            found.append(override.violation(("services", name), f"{MAIN} has no service {name}"))
    return found


@cache
def _specification() -> Any:
    path = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    schema = json.loads(path.read_text("utf-8"))
    return validator_for(schema)(schema)


def _of_schema(schema: Any, file: ComposeFile) -> Iterator[Violation]:
    return (file.violation(keys, what) for keys, what in broken(schema, file.content))


def _compose_lint(path: Path) -> Iterator[Violation]:
    program = Path(sys.executable).with_name("compose-lint")
    config = RULES / "compose-lint.yaml"
    # Without what an operator has in .env and babylon.env.
    options = ["--format=json", "--no-env", "--skip-suppressed", f"--config={config}"]
    for one in report([program, *options, path])["findings"]:
        where = f"{path.name}:{one['line']}: {one['service']}"
        yield Violation(where, f"compose-lint {one['rule_id']}: {one['message']}")


def _declared(file: ComposeFile) -> Iterator[Violation]:
    """Check that services use only what is declared, and that all that is declared is used."""
    used: dict[str, set[str]] = {"networks": set(), "volumes": set(), "secrets": set()}
    for name, service in file.services.items():
        for kind in used:
            given = [*(service.get(kind) or []), *(service.get("build") or {}).get(kind, [])]
            sources = (one["source"] if isinstance(one, dict) else one for one in given)
            names = {str(source).partition(":")[0] for source in sources}
            used[kind] |= names
            for unknown in sorted(names - set(file.content.get(kind) or {})):
                what = f"{kind[:-1]} {unknown} is not declared under {kind}"
                yield file.violation(("services", name, kind), what)
    for kind, names in used.items():
        for unused in sorted(set(file.content.get(kind) or {}) - names):
            yield file.violation((kind, unused), f"{kind[:-1]} {unused} is used by no service")


def _keeps_messages(file: ComposeFile) -> Iterator[Violation]:
    command = file.services.get("redis", {}).get("command") or []
    for what in redis.missing(" ".join(map(str, command))):
        yield file.violation(("services", "redis", "command"), what)


if __name__ == "__main__":
    end("Compose", check(folder()), "the specification, compose-lint and our rules are satisfied")
