"""Every object against the schema of its kind.

Kubernetes' own kinds: the schemas that kubernetes-validate ships, strict (an unknown field is a
violation). KEDA, the Prometheus operator and External Secrets: checks/rules/kinds/, subsets of
their published definitions that hold the fields we use and refuse others.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from kubernetes_validate import utils
from referencing import Registry, Resource

from checks.renderings import Object
from checks.schemas import RULES, broken
from checks.violations import Violation

VERSION = "1.37.0"


def invalid(one: Object) -> Iterator[Violation]:
    """What the object's schema does not allow."""
    version = str(one.content.get("apiVersion", ""))
    try:
        validator = _validator(version, one.kind)
    except FileNotFoundError:
        yield one.violation(
            f"Kubernetes {VERSION} knows no {one.kind} of {version or '(no apiVersion)'}: correct "
            "apiVersion and kind, or add a schema to checks/rules/kinds/"
        )
    else:
        for _, what in broken(validator, one.content):
            yield one.violation(f"{what} ({version} {one.kind})")


@cache
def _validator(version: str, kind: str) -> Draft202012Validator:
    group, _, number = version.rpartition("/")
    if "." in group and not group.endswith(".k8s.io"):
        path = RULES / "kinds" / f"{kind.lower()}.yaml"
        schema = yaml.safe_load(path.read_text("utf-8"))
        if schema["properties"]["apiVersion"]["const"] != version:
            raise FileNotFoundError(path)
        return Draft202012Validator(schema)
    # As the package names its files: networkpolicy-networking-v1, of networking.k8s.io/v1.
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part)
    definitions = Resource.from_contents(_read("_definitions")) @ Registry()
    return Draft202012Validator(_read(name), registry=definitions)


@cache
def _read(name: str) -> Any:
    path = f"kubernetes-json-schema/v{VERSION}-local-strict/{name}.json"
    return utils.schema_contents(path, VERSION)
