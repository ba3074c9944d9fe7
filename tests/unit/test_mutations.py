"""tests/mutations/ goes with the code: what a refactoring moves takes its mutations along."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from checks.mutations import ROOT, Mutation, lists

LISTS = lists()
EVERY = [pytest.param(one, id=one.id) for mutations in LISTS.values() for one in mutations]


@pytest.mark.parametrize("mutation", EVERY)
def test_what_a_mutation_changes_is_there_once(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text("utf-8")
    assert text.count(mutation.old) == 1, "change it with the code, or what it shows is lost"
    assert mutation.new != mutation.old


@pytest.mark.parametrize("mutation", EVERY)
def test_the_tests_that_must_notice_it_exist(mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        file, _, name = test.partition("::")
        text = (ROOT / file).read_text("utf-8")
        assert re.search(rf"^(async )?def {name.split('[')[0]}\(", text, re.MULTILINE), test


def test_each_is_called_by_its_list_and_has_a_name_of_its_own() -> None:
    for name, mutations in LISTS.items():
        assert [one.id for one in mutations if not one.id.startswith(f"{name}-")] == []
    names = Counter(one.id for mutations in LISTS.values() for one in mutations)
    assert [name for name, count in names.items() if count > 1] == []
