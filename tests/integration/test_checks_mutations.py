"""`make mutations`: caught is what makes a test fail, not what keeps it from being run."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from checks import mutations
from checks.mutations import Ending, Mutation, Tried, attempt, copies, pass_unchanged

SHOP = "def total(prices):\n    return sum(prices) * 2 // 2\n"
TESTS = """
import pytest
from shop import total

@pytest.fixture
def prices():
    return [total([1]), 2]

def test_the_total_is_the_sum(prices):
    assert total(prices) == 3

def test_a_free_total_is_nothing():
    assert total([]) == 0
"""
DOUBLED = Mutation(
    id="doubled",
    file="shop.py",
    old=" // 2",
    new="",
    breaks="everything costs twice as much",
    tests=("test_shop.py::test_the_total_is_the_sum",),
)
UNNOTICED = replace(DOUBLED, tests=("test_shop.py::test_a_free_total_is_nothing",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP)
    (folder / "test_shop.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


def test_it_is_caught_by_a_test_that_fails_and_survives_where_none_does(root: Path) -> None:
    with copies(root, 1) as free:
        copy = free.get()
        caught, survived = attempt(copy, DOUBLED), attempt(copy, UNNOTICED)
        assert (copy / "shop.py").read_text() == SHOP
    assert caught.ending is Ending.CAUGHT
    assert caught.how.startswith("test_the_total_is_the_sum: assert 8 == 3")
    assert survived.ending is Ending.SURVIVED
    assert (root / "shop.py").read_text() == SHOP


@pytest.mark.parametrize(
    ("old", "new"),
    [(" // 2", " // 2)"), ("return sum(prices)", "return prices[1]")],
    ids=["not even Python", "a fixture fails"],
)
def test_what_only_keeps_its_tests_from_being_run_is_not_caught(
    root: Path, old: str, new: str
) -> None:
    with copies(root, 1) as free:
        tried = attempt(free.get(), replace(DOUBLED, old=old, new=new))
    assert tried.ending is Ending.NOT_RUN


@pytest.mark.parametrize(("hangs", "ending"), [(False, Ending.NOT_RUN), (True, Ending.CAUGHT)])
def test_a_test_that_hangs_has_noticed_only_what_is_listed_to_hang(
    root: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool, ending: Ending
) -> None:
    for patience in ("_TEST_SECONDS", "_HANGING_SECONDS"):
        monkeypatch.setattr(mutations, patience, 1)
    endless = replace(
        UNNOTICED, old="    return", new="    while True: pass\n    return", hangs=hangs
    )
    with copies(root, 1) as free:
        assert attempt(free.get(), endless).ending is ending


@pytest.mark.parametrize(
    ("file", "old"), [("shop.py", "// 3"), ("shop.py", "2"), ("store.py", "//")]
)
def test_what_is_not_there_or_there_twice_is_not_applicable(
    root: Path, file: str, old: str
) -> None:
    tried = attempt(root, replace(DOUBLED, file=file, old=old))
    assert tried.ending is Ending.NOT_APPLICABLE


def test_only_what_its_list_calls_a_survivor_may_survive() -> None:
    equivalent = replace(UNNOTICED, survives="a total of nothing is nothing")

    def as_it_must_be(mutation: Mutation) -> list[Ending]:
        return [one for one in Ending if Tried(mutation, one, 0.0, "").as_it_must_be]

    assert as_it_must_be(DOUBLED) == [Ending.CAUGHT]
    assert as_it_must_be(equivalent) == [Ending.SURVIVED]


def test_tests_that_fail_without_a_mistake_show_nothing(root: Path) -> None:
    (root / "test_shop.py").write_text(TESTS.replace("== 3", "== 4"))
    with copies(root, 1) as free:
        assert not pass_unchanged(free, [UNNOTICED, DOUBLED], jobs=0)
