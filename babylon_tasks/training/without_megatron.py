"""Let ART's table of models be read where megatron is not installed.

ART 0.5.18 reads in it, for each model of its LocalBackend, which layers get an adapter, and on the
way it imports megatron for Qwen3.5 models, which its extra ``backend`` does not bring: no model
could be trained (OpenPipe/ART#700; Red Hat's training_hub#118 has the same remedy). What it takes
from megatron are classes that it extends, and that nobody uses without megatron.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_MISSING = "megatron"


class _Unused:
    """In the place of each class that is imported."""

    @classmethod
    def register_bridge(cls, **_: Any) -> Callable[[Any], Any]:
        return lambda decorated: decorated


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Unused,), {})


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        ours = fullname.partition(".")[0] == _MISSING
        return ModuleSpec(fullname, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        del module  # it has no code


def import_table_of_models() -> None:
    """Import ART's table; afterwards megatron is as little there as before."""
    if find_spec(_MISSING) is not None:
        return
    finder = _Finder()
    sys.meta_path.append(finder)
    try:
        importlib.import_module("art.dev.get_model_config")
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == _MISSING]:
            del sys.modules[name]
