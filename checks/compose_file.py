"""A Compose file as written, with its line numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from checks.violations import Violation


class ComposeFile:
    """One Compose file; merges (``<<``) are resolved, variables are not."""

    def __init__(self, path: Path) -> None:
        """Parse the file; raises ValueError, with the line, for invalid YAML or a duplicate key."""
        self.name = path.name
        try:
            self.content: Any = YAML(typ="rt").load(path)
        except YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from error

    @property
    def services(self) -> dict[str, Any]:
        return dict(self.content.get("services") or {})

    def violation(self, keys: Sequence[str | int], what: str) -> Violation:
        """Make a violation at the deepest of these keys that the file has."""
        node, line = self.content, 0
        for key in keys:
            written = isinstance(node, CommentedMap) and key in node
            if not written and not (isinstance(node, CommentedSeq) and isinstance(key, int)):
                break
            line = node.lc.data[key][0] if key in node.lc.data else line
            node = node[key]
        service = f": {keys[1]}" if len(keys) > 1 and keys[0] == "services" else ""
        return Violation(f"{self.name}:{line + 1}{service}", what)
