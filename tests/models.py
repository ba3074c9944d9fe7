"""A model for tests of everything but learning: two random layers, the real tokenizer.

A training step of it takes a tenth of a second on a CPU, its start a few seconds (imports).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from templates import Template


def save_tiny_model(
    folder: Path,
    *,
    seed: int = 0,
    template: Template | None = None,
    says: str | None = None,
    mostly: str | None = None,
    begins: str | None = None,
    torn: tuple[str, str] | None = None,
    spare: int = 0,
) -> Path:
    """Write the model for ``BABYLON_BASE_MODEL``; about 13 MB, all its weights random.

    With ``says`` it answers mostly in the tokens of that text, in any order, and with ends between;
    with ``mostly`` in this one of them four times in five, and without ends. With ``begins`` an
    answer begins with that token. ``torn``: two of those that it says, between which it is easily
    taught to choose; without them no step makes much of a difference to what it says. With
    ``spare`` the head is so much wider than the vocabulary, as many models' are.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from babylon_tasks.training.policy import undo_art_mask_patch

    tokenizer = tokenizer_for(template)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer) + spare,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=says is None,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    with torch.no_grad():
        if says is not None:
            spoken = {*tokenizer.encode(says, add_special_tokens=False), tokenizer.eos_token_id}
            # The first of the hidden values is the same everywhere: a bias for the output layer.
            model.model.embed_tokens.weight[:, 0] = 1.0
            model.lm_head.weight[:, 0] = 0.0
            model.lm_head.weight[sorted(spoken), 0] = 1.5
            if mostly is not None:
                model.lm_head.weight[tokenizer.eos_token_id, 0] = 0.0
                model.lm_head.weight[tokenizer.convert_tokens_to_ids(mostly), 0] = 1.75
        if torn is not None:
            one, other = map(tokenizer.convert_tokens_to_ids, torn)
            model.lm_head.weight[sorted(spoken), 0] = 2.0
            model.lm_head.weight[one, 1] = 1.5
            model.lm_head.weight[other, 1] = -1.5
        if begins is not None:
            undo_art_mask_patch()  # no forward pass works where ART was imported before
            asked = [{"role": "user", "content": "?"}]
            prompt = tokenizer.apply_chat_template(
                asked, add_generation_prompt=True, return_tensors="pt"
            )["input_ids"]
            hidden = model.model(prompt).last_hidden_state[0]
            last, usual = hidden[-1], hidden[:-1].mean(0)
            own = last - usual * last.dot(usual) / usual.dot(usual)  # of this place alone
            token = tokenizer.convert_tokens_to_ids(begins)
            model.lm_head.weight[token] = 25 * own / own.dot(last)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tokenizer_for(template: Template | None = None) -> Any:
    """The small model's tokenizer, as another model's template needs it."""
    from tokenizers import Regex, pre_tokenizers
    from transformers import AutoTokenizer

    from babylon_tasks.training.smollm import NAME, base_model_path

    tokenizer = AutoTokenizer.from_pretrained(base_model_path(NAME))
    if template is not None:
        tokenizer.chat_template = template.text
        tokenizer.add_tokens(list(template.special), special_tokens=True)
        tokenizer.add_tokens(list(template.ordinary))
        tokenizer.eos_token = template.end
        if template.split is not None:
            tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(template.split), "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
    return tokenizer
