"""Let ART be imported without a package of which it needs names alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Unused:
    """In the place of each class that is imported."""

    @classmethod
    def register_bridge(cls, **_: Any) -> Callable[[Any], Any]:  # megatron's
        return lambda decorated: decorated


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Unused,), {})


class _Finder(MetaPathFinder, Loader):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        ours = fullname.partition(".")[0] == self._package
        return ModuleSpec(fullname, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        del module  # it has no code


@contextmanager
def placeholders(package: str) -> Iterator[None]:
    """Put classes that nobody uses in the place of a package's while others import them.

    Afterwards the package is as little imported as before, and can be. One that is imported
    already stays.
    """
    if package in sys.modules:
        yield
        return
    finder = _Finder(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in list(sys.modules) if name.partition(".")[0] == package]:
            del sys.modules[name]
