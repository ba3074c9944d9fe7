"""Babylon's recorded hours in, a better model out.

    from babylon_tasks import Recorder, serving

What agents need is here, and imported when it is first used: importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from babylon_tasks.recorder import Recorder
    from babylon_tasks.registry.agent_api import openai_client, serving
    from babylon_tasks.registry.serving import Serving

__version__ = "0.1.0"
__all__ = ["Recorder", "Serving", "__version__", "openai_client", "serving"]

_FROM = {
    "Recorder": "babylon_tasks.recorder",
    "Serving": "babylon_tasks.registry.serving",
    "openai_client": "babylon_tasks.registry.agent_api",
    "serving": "babylon_tasks.registry.agent_api",
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_FROM[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
