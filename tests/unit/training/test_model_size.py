"""A base model's size, as its name or its files tell it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from babylon_tasks.training.model_size import parameters


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("SmolLM2-135M-Instruct", 134_515_008),
        ("HuggingFaceTB/SmolLM2-360M", 360_000_000),
        ("OpenPipe/Qwen3-14B-Instruct", 14_000_000_000),
        ("Qwen/Qwen2.5-0.5B-Instruct", 500_000_000),
        ("Qwen/Qwen3-30B-A3B", 30_000_000_000),
        ("openai/gpt-oss-20b", 20_000_000_000),
        ("meta-llama/Llama-3.1-8B", 8_000_000_000),
        ("7B-lab/mystery", None),
        ("gpt-4o", None),
        ("model-2beta", None),
    ],
)
def test_a_name_often_says_it(name: str, size: int | None) -> None:
    assert parameters(name) == size


@pytest.mark.parametrize(
    ("config", "size"),
    [({"dtype": "float32"}, 250), ({"torch_dtype": "bfloat16"}, 500), ([], 500), (None, 500)],
)
def test_a_folders_files_do(tmp_path: Path, config: object, size: int) -> None:
    folder = tmp_path / "a-70B"  # its name may be anything
    folder.mkdir()
    assert parameters(str(folder)) is None
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    for name in ("model-1.safetensors", "model-2.safetensors"):
        (folder / name).write_bytes(b"x" * 500)

    assert parameters(str(folder)) == size
