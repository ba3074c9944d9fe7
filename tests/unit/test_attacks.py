"""The attacker's hour is whole: its tests exist, and docs/threat-model.md lists them."""

from __future__ import annotations

import ast

import pytest
from attacks import ATTACKED, ATTACKS, TESTS, attacks, table

DOCUMENT = TESTS.parent / "docs" / "threat-model.md"


@pytest.mark.parametrize("attacked", sorted(ATTACKED))
def test_each_test_that_is_named_exists(attacked: str) -> None:
    file, _, name = attacked.partition("::")
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    tests = {one for one in found if one.startswith("test_")}
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


def test_these_tests_have_the_marker(request: pytest.FixtureRequest) -> None:
    marked = [item for item in request.session.items if item.get_closest_marker("attack")]
    named = [
        item
        for item in request.session.items
        if attacks(item.path, getattr(item, "originalname", item.name))
    ]
    assert marked == named
