"""The attacker's hour is whole: its tests exist, and docs/threat-model.md lists them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest
from attacks import ATTACKED, ATTACKS, TESTS, attacks, table

DOCUMENT = TESTS.parent / "docs" / "threat-model.md"


@pytest.mark.parametrize("attacked", sorted(ATTACKED))
def test_each_test_that_is_named_exists(attacked: str) -> None:
    file, _, name = attacked.partition("::")
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    tests = {one for one in _functions(tree) if one.startswith("test_")}
    assert tests
    assert not name or name in tests
    assert attacks(TESTS / file, name or min(tests))


def test_the_document_lists_each_attack_with_its_tests() -> None:
    written = DOCUMENT.read_text("utf-8")
    assert "\n".join(table()) in written, (
        "put the output of `python tests/attacks.py` into docs/threat-model.md"
    )


def test_each_attack_is_listed_once_and_has_a_test() -> None:
    assert len({attack.what for attack in ATTACKS}) == len(ATTACKS)
    assert all(attack.tests for attack in ATTACKS)


def test_the_marker_runs_what_is_named_and_nothing_else() -> None:
    whole, parts, none = "tasks/test_message_gate.py", "test_mask_secrets.py", "test_windows.py"
    tree = ast.parse((TESTS / "unit" / whole).read_text("utf-8"))
    expected = {f"tests/unit/{whole}::{name}" for name in _functions(tree) if name[:5] == "test_"}
    expected |= {f"tests/{one}" for one in ATTACKED if one.startswith(f"unit/{parts}::")}
    assert f"unit/{whole}" in ATTACKED
    assert not any(one.startswith(f"unit/{none}") for one in ATTACKED)

    collect = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    files = [f"tests/unit/{file}" for file in (whole, parts, none)]
    plain = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    collected = subprocess.run(
        [*collect, "-m", "attack", *files],
        cwd=TESTS.parent,
        env=plain,
        capture_output=True,
        text=True,
    ).stdout.splitlines()

    assert {line.partition("[")[0] for line in collected if "::" in line} == expected


def _functions(tree: ast.Module) -> set[str]:
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
