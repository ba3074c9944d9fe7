"""Every object against the schema of its kind.

Kubernetes' own kinds: the schemas that kubernetes-validate ships, strict (an unknown field is a
fault). KEDA, the Prometheus operator and External Secrets: checks/kinds/, subsets in our words of
their published definitions, that hold the fields we use and refuse others.
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

from checks.faults import Fault
from checks.renderings import Object

VERSION = "1.37.0"
_FOLDER = f"kubernetes-json-schema/v{VERSION}-local-strict"
_SUBSETS = Path(__file__).with_name("kinds")


def schema_faults(one: Object) -> Iterator[Fault]:
    """What the object's schema does not allow."""
    version = str(one.content.get("apiVersion", ""))
    try:
        validator = _validator(version, one.kind)
    except FileNotFoundError:
        yield one.fault(
            f"Kubernetes {VERSION} knows no {one.kind} of {version or '(no apiVersion)'}: correct "
            "apiVersion and kind, or add a schema to checks/kinds/"
        )
        return
    for error in validator.iter_errors(one.content):
        # Of several ways to be valid the one that is missed least says most.
        found = best_match([error], key=relevance)
        path = ".".join(str(part) for part in found.absolute_path) or "the object"
        yield one.fault(f"{path}: {found.message} ({version} {one.kind})")


@cache
def _validator(version: str, kind: str) -> Draft202012Validator:
    group, _, number = version.rpartition("/")
    own = _SUBSETS / f"{kind.lower()}.yaml"
    if "." in group and not group.endswith(".k8s.io"):
        schema = yaml.safe_load(own.read_text("utf-8"))
        if schema["properties"]["apiVersion"]["const"] != version:
            raise FileNotFoundError(own)
        return Draft202012Validator(schema)
    # As the package names its files: networkpolicy-networking-v1, of networking.k8s.io/v1.
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part)
    return Draft202012Validator(_read(f"{name}.json"), registry=_definitions())


@cache
def _definitions() -> Registry[Any]:
    return Resource.from_contents(_read("_definitions.json")) @ Registry()


def _read(name: str) -> Any:
    return utils.schema_contents(f"{_FOLDER}/{name}", VERSION)
