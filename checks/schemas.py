"""JSON schemas, for what is wrong with a thing by itself: ours, Kubernetes' and others'.

Ours are in checks/rules/; there `errorMessage` says what to do. Kubernetes' own kinds have the
schemas that kubernetes-validate ships, strict: an unknown field is a violation. KEDA, the
Prometheus operator and External Secrets have subsets of their published definitions in
checks/rules/kinds/, which have the fields we use and refuse others.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match, relevance
from kubernetes_validate import utils
from referencing import Registry, Resource

RULES = Path(__file__).with_name("rules")
KUBERNETES = "1.37.0"
Keys = list[str | int]


def broken(schema: Any, content: Any) -> Iterator[tuple[Keys, str]]:
    """Find every violation of a schema: the keys that lead to it, and what is wrong there."""
    for error in schema.iter_errors(content):
        # Of several alternatives, report the one that fails least.
        found = best_match([error], key=relevance)
        keys: Keys = list(found.absolute_path)
        ours = found.schema.get("errorMessage")
        seen = f" is {found.instance!r}" if isinstance(found.instance, str | int) and ours else ""
        yield keys, f"{'.'.join(map(str, keys)) or 'all of it'}{seen}: {ours or found.message}"


@cache
def rules(file: str, part: str) -> Any:
    """Load our rules for one kind of object from a file of checks/rules/."""
    document = yaml.safe_load((RULES / file).read_text("utf-8"))
    return Draft202012Validator({"$defs": document["$defs"], "$ref": f"#/$defs/{part}"})


@cache
def of_kind(version: str, kind: str) -> Any:
    """Load the schema of an apiVersion and kind; raises FileNotFoundError where there is none."""
    group, _, number = version.rpartition("/")
    if "." in group and not group.endswith(".k8s.io"):
        path = RULES / "kinds" / f"{kind.lower()}.yaml"
        schema = yaml.safe_load(path.read_text("utf-8"))
        if schema["properties"]["apiVersion"]["const"] != version:
            raise FileNotFoundError(path)
        return Draft202012Validator(schema)
    # As the package names its files: networkpolicy-networking-v1, of networking.k8s.io/v1.
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part)
    definitions = Resource.from_contents(_kubernetes("_definitions")) @ Registry()
    return Draft202012Validator(_kubernetes(name), registry=definitions)


@cache
def _kubernetes(name: str) -> Any:
    folder = f"kubernetes-json-schema/v{KUBERNETES}-local-strict"
    return utils.schema_contents(f"{folder}/{name}.json", KUBERNETES)
