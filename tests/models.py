"""A model for tests of everything but learning: two random layers, the real tokenizer.

A training step of it takes a tenth of a second on a CPU, its start a few seconds (imports).
"""

from __future__ import annotations

from pathlib import Path


def save_tiny_model(folder: Path, *, seed: int = 0) -> Path:
    """Write the model for ``BABYLON_BASE_MODEL``; about 13 MB, all its weights random."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from babylon_tasks.training.smollm import NAME, base_model_path

    tokenizer = AutoTokenizer.from_pretrained(base_model_path(NAME))
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
