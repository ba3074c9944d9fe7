"""A file that calls itself pure is held to it by import-linter, and no other file is."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator

from documents import ROOT


def claims() -> Iterator[str]:
    """The modules and packages whose docstring says so; a package speaks for all in it."""
    modules: list[str] = []
    for path in sorted((ROOT / "babylon_tasks").rglob("*.py"), key=lambda path: path.parts):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        if re.search(r"\bpure\b", docstring, re.IGNORECASE):
            modules.append(module)
    packages = {one for one in modules if (ROOT / one.replace(".", "/")).is_dir()}
    yield from (one for one in modules if one.rpartition(".")[0] not in packages)


def test_what_calls_itself_pure_is_what_the_contract_names() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one["name"].startswith("what calls itself pure"))

    assert set(contract["source_modules"]) == set(claims())
