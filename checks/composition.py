"""A Compose file as it is written: its lines, and what the Compose specification's schema says.

The schema is the one that check-jsonschema ships, which follows the specification's releases.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from checks.faults import Fault

_SCHEMA = "builtin_schemas/vendor/compose-spec.json"


class Composition:
    """One Compose file; merges (``<<``) are resolved, variables are not."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError, with the line, for what is no YAML or has a key twice."""
        self.name = path.name
        try:
            self.content: Any = YAML(typ="rt").load(path)
        except YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from error

    @property
    def services(self) -> dict[str, Any]:
        """The services by name."""
        return dict(self.content.get("services") or {})

    def where(self, *keys: str | int) -> str:
        """File and line of the deepest key that is written where these keys say."""
        node, line = self.content, 0
        for key in keys:
            if isinstance(node, CommentedMap) and key in node:
                line = node.lc.data[key][0] if key in node.lc.data else line
            elif isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
                line = node.lc.data[key][0]
            else:
                break
            node = node[key]
        return f"{self.name}:{line + 1}"

    def fault(self, keys: Sequence[str | int], what: str) -> Fault:
        """A fault at this place, which is named by its service if it is in one."""
        service = f" {keys[1]}:" if len(keys) > 1 and keys[0] == "services" else ""
        return Fault(f"{self.where(*keys)}:{service}".removesuffix(":"), what)


def schema_faults(composition: Composition) -> Iterator[Fault]:
    """What the specification's schema does not allow."""
    for error in _validator().iter_errors(composition.content):
        best = jsonschema.exceptions.best_match([error])
        path = list(best.absolute_path)
        named = ".".join(str(part) for part in path) or "the file"
        yield composition.fault(path, f"{named}: {best.message} (Compose specification)")


def strings(node: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every value in the file, as text, with the keys that lead to it."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from strings(value, (*keys, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from strings(value, (*keys, number))
    else:
        yield keys, "" if node is None else str(node)


@cache
def _validator() -> Any:
    schema = json.loads(files("check_jsonschema").joinpath(_SCHEMA).read_text("utf-8"))
    return jsonschema.validators.validator_for(schema)(schema)
