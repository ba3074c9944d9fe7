"""How long a packed row may be, by the memory that a gradient step over it takes."""

from __future__ import annotations

from typing import Any

from babylon_tasks.training.device import Device
from babylon_tasks.training.machine import usable_memory

SHORTEST = 2048  # tokens; what was the limit everywhere


def longest_row(config: Any, device: Device) -> int:
    """Return the longest row, a power of two of tokens, that half of the free memory suffices for.

    ``config`` is transformers' of the model. At least 2,048 tokens, and never more than the model
    was made for; ask once it is loaded.
    """
    made_for = int(config.max_position_embeddings)
    free = device.free_bytes() if device.on_card else usable_memory()
    suffices = SHORTEST if free is None else free // 2 // bytes_per_token(config, bf16=device.bf16)
    row = SHORTEST
    while 2 * row <= min(suffices, made_for):
        row *= 2
    return min(row, made_for)


def bytes_per_token(config: Any, *, bf16: bool) -> int:
    """Estimate the memory of a gradient step for each token of its row, all of them trained.

    Fitted to the peak of the small model on the processor in bf16, LoRA on all linear layers: 1.6
    MiB a token, and 0.8 for each that is trained, the same in rows of 1,024 and of 2,048. In fp32
    ART's own services took half as much again.
    """
    layer = 8 * config.hidden_size + 6 * config.intermediate_size
    kept = int(config.num_hidden_layers * layer * 4 * (1 if bf16 else 1.5))
    return kept + 16 * int(config.vocab_size)
