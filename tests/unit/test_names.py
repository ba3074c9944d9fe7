"""One name for one thing: no two public classes of the package and the checks share a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def sources() -> dict[str, ast.Module]:
    """Parse the modules of the package and of the checks."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8"))
        for folder in ("babylon_tasks", "checks")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def public_classes(tree: ast.Module) -> Iterator[str]:
    """List the classes, and the type aliases (``Reply = Ready | Failed``), of a module."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp() | ast.Subscript()):
                if not name.startswith("_") and not name.isupper() and name[0].isupper():
                    yield name


def shared(modules: Iterable[tuple[str, ast.Module]]) -> dict[str, list[str]]:
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in modules:
        for name in public_classes(tree):
            homes[name].append(path)
    return {name: paths for name, paths in homes.items() if len(paths) > 1}


@pytest.mark.unit
def test_no_two_classes_share_a_name() -> None:
    assert shared(sources().items()) == {}


@pytest.mark.unit
def test_a_shared_name_is_found() -> None:
    files = {
        "one.py": "class Ready: ...",
        "two.py": "class Ready: ...\nReply = Ready | None",
        "three.py": "Reply = list[int]\nclass _Ready: ...",
    }
    found = shared((path, ast.parse(source)) for path, source in files.items())
    assert found == {"Ready": ["one.py", "two.py"], "Reply": ["two.py", "three.py"]}
