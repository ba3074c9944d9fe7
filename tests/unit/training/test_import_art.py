"""What a trainer does without while it imports is there again afterwards."""

from __future__ import annotations

import gc
import importlib
import sys

import pytest

from babylon_tasks.training.import_art import collector_at_rest
from babylon_tasks.training.placeholders import placeholders


def test_names_of_a_package_that_is_not_there_can_be_imported_meanwhile() -> None:
    with placeholders("lacking"):
        found = importlib.import_module("lacking.types.utils").Choices
        assert isinstance(found, type)
        assert not isinstance("an answer", found)

    assert not {name for name in sys.modules if name.startswith("lacking")}
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("lacking.types.utils")


def test_a_package_that_is_there_is_not_imported_meanwhile_and_can_be_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with placeholders("this"):
        assert not hasattr(importlib.import_module("this"), "__file__")
    assert "this" not in sys.modules
    assert importlib.import_module("this").__file__


def test_a_package_that_is_imported_already_stays() -> None:
    with placeholders("msgspec"):
        assert importlib.import_module("msgspec").Struct is not None
    assert hasattr(sys.modules["msgspec"], "__file__")


def test_the_collector_works_again_also_after_an_import_that_fails() -> None:
    with collector_at_rest():
        assert not gc.isenabled()
    assert gc.isenabled()

    with pytest.raises(ModuleNotFoundError), collector_at_rest():
        importlib.import_module("lacking")
    assert gc.isenabled()


def test_another_thread_may_import_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment at which it would tear a look through ``sys.modules``."""

    class Imports(str):
        def partition(self, separator: str, /) -> tuple[str, str, str]:
            monkeypatch.setitem(sys.modules, "imported_meanwhile", sys)
            return super().partition(separator)

    monkeypatch.setitem(sys.modules, Imports("imports"), sys)
    with placeholders("lacking"):
        pass
    assert "imported_meanwhile" in sys.modules
