"""docs/guide.md: its table of memory follows from the estimate by which rows are chosen."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from documents import ROOT

from babylon_tasks.training.row_memory import bytes_per_token

TEXT = (ROOT / "docs" / "guide.md").read_text("utf-8").partition("## GPU and memory")[2]
ROW = re.compile(r"^\| ([\w.-]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", re.MULTILINE)
CARDS = (8, 16, 24, 40, 80)  # GiB
GIB = 2**30
SHORTEST = 2  # thousands of tokens: this row is tried whatever is free
# Of each model's config.json, and its number of parameters.
MODELS = {
    "SmolLM2-135M": (134.5e6, 576, 1536, 30, 49_152, True),
    "Qwen2.5-0.5B": (494e6, 896, 4864, 24, 151_936, True),
    "Llama-3.2-1B": (1.236e9, 2048, 8192, 16, 128_256, True),
    "Qwen2.5-1.5B": (1.544e9, 1536, 8960, 28, 151_936, True),
    "Qwen3-4B": (4.022e9, 2560, 9728, 36, 151_936, True),
    "Qwen2.5-7B": (7.616e9, 3584, 18_944, 28, 152_064, False),
}


def sizes(model: str) -> tuple[float, float, int]:
    """Weights, a thousand tokens of a row, and the smallest card for both, in GiB."""
    parameters, hidden, intermediate, layers, vocabulary, tied = MODELS[model]
    in_fp32 = hidden * vocabulary * (1 if tied else 2)
    weights = (4 * in_fp32 + 2 * (parameters - in_fp32)) / GIB
    config = SimpleNamespace(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        vocab_size=vocabulary,
    )
    row = 1024 * bytes_per_token(config, bf16=True) / GIB
    return weights, row, next(card for card in CARDS if weights + SHORTEST * row < card)


def test_the_table_of_memory_is_computed() -> None:
    written = {name: tuple(map(float, rest)) for name, *rest in ROW.findall(TEXT)}
    assert written.keys() == MODELS.keys()
    for name, found in written.items():
        assert found == pytest.approx(sizes(name), abs=0.051), (name, sizes(name))
