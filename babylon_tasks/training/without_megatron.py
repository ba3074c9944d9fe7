"""Let ART's table of models be read where megatron is not installed.

ART 0.5.18 reads in it, for each model of its LocalBackend, which layers get an adapter, and on the
way it imports megatron for Qwen3.5 models, which its extra ``backend`` does not bring: no model
could be trained (OpenPipe/ART#700; Red Hat's training_hub#118 has the same remedy). What it takes
from megatron are classes that it extends, and that nobody uses without megatron.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec

from babylon_tasks.training.placeholders import placeholders

_MISSING = "megatron"


def import_table_of_models() -> None:
    """Import ART's table; afterwards megatron is as little there as before."""
    if find_spec(_MISSING) is None:
        with placeholders(_MISSING):
            importlib.import_module("art.dev.get_model_config")
