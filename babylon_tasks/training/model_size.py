"""How many parameters a base model has, by its name or its files; nothing is loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path

from babylon_tasks.training.smollm import NAME

_PACKAGED = 134_515_008
_UNITS = {"m": 10**6, "b": 10**9}
# Qwen2.5-14B-Instruct, SmolLM2-360M; of Qwen3-30B-A3B the first, not the active ones.
_IN_NAME = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)


def parameters(base_model: str) -> int | None:
    """Find the number of a base model's parameters; None where neither name nor files say it."""
    if base_model == NAME:
        return _PACKAGED
    folder = Path(base_model)
    if folder.is_dir():
        return _of_files(folder)
    found = _IN_NAME.search(base_model.rpartition("/")[2])
    return None if found is None else int(float(found[1]) * _UNITS[found[2].lower()])


def _of_files(folder: Path) -> int | None:
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if not size:
        return None
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        config = {}
    dtype = config.get("dtype") or config.get("torch_dtype") if isinstance(config, dict) else None
    return size // (4 if dtype == "float32" else 2)
