"""Check that docs/configuration.md matches the settings.

``python -m checks.configuration`` fails where they differ; with ``--write`` it writes the document.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from babylon_tasks.read_settings import ENV_FILE, SECRETS_DIR
from babylon_tasks.settings import Settings, variable
from checks.violations import Violation, end

ROOT = Path(__file__).parent.parent
DOCUMENT = "docs/configuration.md"
SOURCES = (
    "babylon_tasks/settings.py",
    "babylon_tasks/learning_settings.py",
    "babylon_tasks/comparison_settings.py",
    "babylon_tasks/cost_settings.py",
    "babylon_tasks/process_settings.py",
    "babylon_tasks/gateway_settings.py",
)
# The field that a section begins with, in the order of the document. A section's fields follow each
# other in their class.
SECTIONS = {
    "database_url": "Servers and accounts",
    "lineage": "The lineage",
    "grace_seconds": "Windows",
    "scorer": "Reading and scoring",
    "max_group_size": "Groups and steps",
    "learning_rate": "Training",
    "supervised_calls": "Supervised steps (`babylon-tasks warm-start`)",
    "max_eval_tokens": "Evaluation and promotion",
    "compare": "Comparisons with an anchor",
    "gpu_hour_price": "Cost (docs/cost.md)",
    "lease_seconds": "Leases and attempts",
    "inference_host": "Inference by the trainer (backends `cpu` and `local`)",
    "gateway_host": "The gateway",
    "cpu_concurrency": "Processes and monitoring",
    "log_format": "Logs",
}
_TYPES = {
    "boolean": "`true` or `false`",
    "integer": "whole number",
    "number": "number",
    "object": "JSON object",
}
_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
HEAD = f"""# Configuration
<!-- written by `make docs` from babylon_tasks/settings.py; do not edit -->

Everything is set by environment variables. Those that are missing there are read from the file that
`{ENV_FILE}` names, one `NAME=value` per line, and then from the folder that `{SECRETS_DIR}`
names, of files with these names: so secrets (marked below) need not be in the environment. A file
`.env` in the working directory is read only if `{ENV_FILE}` names it. What is empty, or only
white space, counts as not set, wherever it is given.

All processes of a lineage should get the same settings. An invalid setting ends a process at its
start with exit code 2 and a line that names it, never its value; a name that is no setting is named
in the log and by `doctor`, with the nearest one. `CELERY_BROKER_URL`, `CELERY_RESULT_BACKEND`,
`CELERY_WORKER_*` and their like, which Celery would obey, are refused. Times are in seconds unless
a name says otherwise.
`babylon-tasks doctor` checks all it can.

In addition, `HF_HUB_OFFLINE=0` lets the trainer fetch a base model from the hub (by default it
uses no network), and `XDG_CACHE_HOME` is where the converted packaged model is cached (540 MB).
"""


def rendered(meanings: Mapping[str, str]) -> str:
    """Render the whole document."""
    parts = [HEAD]
    schemas = Settings.model_json_schema(by_alias=False)["properties"]
    sections: dict[str, list[str]] = {}
    for name in meanings:
        if name in SECTIONS:
            section = sections.setdefault(name, [])
        section.append(name)
    for first, title in SECTIONS.items():
        head = "| variable | type and range | default | meaning |\n|---|---|---|---|\n"
        parts.append(f"\n## {title}\n\n{head}")
        for name in sections[first]:
            any_of = schemas[name].get("anyOf", [schemas[name]])
            schema = next(one for one in any_of if one.get("type") != "null")
            secret = " (secret)" if schema.get("format") == "password" else ""
            default = _default(Settings.model_fields[name])
            cells = (f"`{variable(name)}`{secret}", _kind(schema), default, meanings[name])
            parts.append(f"| {' | '.join(cells)} |\n")
    return "".join(parts)


def violations(root: Path = ROOT) -> list[Violation]:
    """Find where document and settings differ, and fields without an explanation."""
    meanings = explained(root)
    found = [
        Violation(SOURCES[0], f"{name} has no line that says what it does")
        for name in Settings.model_fields
        if not meanings.get(name)
    ]
    lost = set(SECTIONS) - set(Settings.model_fields)
    found += [Violation("checks/configuration.py", f"no setting is named {name}") for name in lost]
    if not found:
        path = root / DOCUMENT
        if not path.exists() or path.read_text("utf-8") != rendered(meanings):
            found.append(Violation(DOCUMENT, "is not what the settings say; run `make docs`"))
    return found


def explained(root: Path = ROOT) -> dict[str, str]:
    """Read the string under each field of the settings."""
    # pydantic can read them as descriptions, at the cost of 30 ms at each start of a process.
    found = {}
    for source in SOURCES:
        tree = ast.parse((root / source).read_text("utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for field, text in (pair for one in classes for pair in pairwise(one.body)):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(meaning))),
                ):
                    found[name] = " ".join(meaning.split())
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    """Describe a type for people who write environment variables, with its limits."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = "path" if schema.get("format") == "path" else _TYPES.get(schema["type"], "text")
    bounds = [f"{sign} {schema[key]:.10g}" for key, sign in _SIGNS.items() if key in schema]
    return f"{kind} {' and '.join(bounds)}".strip()


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    if value is PydanticUndefined:
        return "**required**"
    if value is None:
        return "none"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()  # a default in the code is not a secret
    if isinstance(value, bool | dict):
        value = json.dumps(value)
    return f"`{value}`"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        (ROOT / DOCUMENT).write_text(rendered(explained()), "utf-8")
    end("configuration", violations(), f"{DOCUMENT} says what the settings say")
