"""What a JSON schema does not allow: rules of one object by itself.

Our own are in checks/rules/. There `errorMessage` says what to do; others' schemas speak for
themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match, relevance

RULES = Path(__file__).with_name("rules")
Keys = list[str | int]


def broken(schema: Any, content: Any) -> Iterator[tuple[Keys, str]]:
    """Every violation of a schema: the keys that lead to it, and what is wrong there."""
    for error in schema.iter_errors(content):
        # Of several ways to be valid the one that is missed least says most.
        found = best_match([error], key=relevance)
        keys: Keys = list(found.absolute_path)
        ours = found.schema.get("errorMessage")
        seen = f" is {found.instance!r}" if isinstance(found.instance, str | int) and ours else ""
        yield keys, f"{'.'.join(map(str, keys)) or 'all of it'}{seen}: {ours or found.message}"


@cache
def rules(file: str, part: str) -> Any:
    """The rules of one kind of thing, out of a file of checks/rules/."""
    document = yaml.safe_load((RULES / file).read_text("utf-8"))
    return Draft202012Validator({"$defs": document["$defs"], "$ref": f"#/$defs/{part}"})
