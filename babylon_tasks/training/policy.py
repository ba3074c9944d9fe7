"""The model in memory: one frozen base, one LoRA adapter per checkpoint, log-probabilities out.

One lock guards the network: peft switches adapters in place, so no other thread may switch while
a forward pass runs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from babylon_tasks.training.committed import CommittedCheckpoints
from babylon_tasks.training.device import Device
from babylon_tasks.training.lora_layers import add_in_place
from babylon_tasks.training.model_head import head_logprobs, set_head_precision
from babylon_tasks.training.resident_adapters import ResidentAdapters
from babylon_tasks.training.token_text import TokenText, token_text_of
from babylon_tasks.training.token_tree import TokenTree, token_tree
from babylon_tasks.training.work import noting_layers

LORA_RANK = 8
LORA_ALPHA = 16
_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_TRAINED = "head_step"  # not "train": peft stores adapters as attributes of modules


def undo_art_mask_patch() -> None:
    """Undo ART's patch of transformers' mask code, which breaks every forward pass.

    `import art` replaces ``masking_utils._preprocess_mask_arguments`` by a function with the
    signature of transformers 5.2; with 5.23 it raises TypeError (measured).
    """
    from art.transformers import patches
    from transformers import masking_utils

    masking_utils._preprocess_mask_arguments = patches._preprocess_mask_arguments


class Policy:
    """A base model with LoRA adapters: one is being trained, the others are checkpoints.

    ``checkpoints`` is the directory of the adapter folders, ``NNNN/``; step 0 has none and means
    the base model. Tensors come in and go out on the processor; the network is on ``device``.
    """

    def __init__(self, model_path: str, checkpoints: Path, device: Device) -> None:
        self.device = device
        self.lock = threading.RLock()
        self.checkpoints = checkpoints
        self.committed = CommittedCheckpoints(checkpoints)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model_path)
        base: Any = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
        if device.bf16:
            for name, module in base.named_modules():
                if name.rpartition(".")[2] in _TARGETS:
                    module.to(torch.bfloat16)  # frozen, so cast once instead of at each pass
        set_head_precision(base, device)
        base.to(device.place)
        self.network: Any = get_peft_model(
            base,
            LoraConfig(
                r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules=_TARGETS, task_type="CAUSAL_LM"
            ),
            adapter_name=_TRAINED,
        ).to(device.place)
        if not device.bf16:
            add_in_place(self.network)
        noting_layers(base.model.layers)
        self.network.eval()  # no dropout anywhere: training and sampling see the same network
        self._resident = ResidentAdapters(self.network, device.place)

    def adapter_dir(self, step: int) -> Path:
        """Return the folder of a step's adapter (ART's layout)."""
        return self.checkpoints / f"{step:04d}"

    def trained_parameters(self) -> list[torch.nn.Parameter]:
        """List the weights of the adapter in training, in a fixed order."""
        return [
            parameter
            for name, parameter in self.network.named_parameters()
            if f".{_TRAINED}." in name
        ]

    @cached_property
    def token_text(self) -> TokenText:
        """The vocabulary as bytes, with every token that ends an answer of this model."""
        ends = self.network.generation_config.eos_token_id
        return token_text_of(self.tokenizer, [ends] if isinstance(ends, int) else ends or ())

    @cached_property
    def spare(self) -> torch.Tensor:
        """The columns of the head, on its device, that stand for no token of the vocabulary.

        Qwen2.5-0.5B has 151,936 columns for 151,665 tokens.
        """
        columns = len(self.network.get_output_embeddings().weight)
        found = [column for column in range(columns) if not self.token_text.contains(column)]
        return torch.tensor(found, dtype=torch.long, device=self.device.place)

    @property
    def longest(self) -> int:
        """The most tokens that the model was made for."""
        return int(self.network.config.max_position_embeddings)

    @property
    def cache_bytes(self) -> int:
        """The memory of keys and values that one token of a prompt or an answer takes, at most."""
        config = self.network.config
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        kept = getattr(config, "num_key_value_heads", None) or heads
        return int(config.num_hidden_layers * kept * width * 2 * 4)  # keys and values, fp32

    def init_adapter(self, seed: int) -> None:
        """Initialise the adapter in training; it does not change the model's output yet.

        The process's generator goes on as if nothing had been drawn here: answers without a seed
        are drawn from it, and after each step from the base model they would repeat their luck.
        """
        with self.lock, torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in self.network.modules():
                if isinstance(module, LoraLayer):
                    parts = (module.lora_A[_TRAINED], module.lora_B[_TRAINED])
                    for part in parts:
                        part.cpu()  # a seed draws the same weights whatever the device
                    module.reset_lora_parameters(_TRAINED, True)  # type: ignore[no-untyped-call]
                    for part in parts:
                        part.to(self.device.place)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Use the network under the adapter in training, gradients on."""
        with self.lock:
            self.network.set_adapter(_TRAINED)
            with torch.enable_grad(), self.device.precision():
                yield

    @contextmanager
    def at_step(self, step: int) -> Iterator[None]:
        """Use the network as of a checkpoint, gradients off.

        Raises FileNotFoundError, CheckpointDamaged.
        """
        with self.lock, torch.no_grad(), self.device.precision():
            if step == 0:
                with self.network.disable_adapter():
                    yield
                return
            name = self._load(step)
            if self.network.active_adapter != name:  # it goes through all modules
                self.network.set_adapter(name)
            yield

    def _load(self, step: int) -> str:
        if step not in self._resident:
            folder = self.adapter_dir(step)
            if not (folder / "adapter_model.safetensors").exists():
                raise FileNotFoundError(f"checkpoint {step} has no adapter in {folder}")
            self.committed.require_intact(step)
            self._resident.read(step, folder)
        return self._resident.use(step)

    def damage(self, step: int) -> str | None:
        """Say why a step cannot be loaded; None where it is loaded already, or can be."""
        return None if step in self._resident else self.committed.damage(step)

    def forget(self, step: int) -> None:
        """Drop a checkpoint from memory before its files are deleted."""
        with self.lock:
            if step in self._resident:
                # peft warns where an active one goes; as an error that leaves it half deleted.
                self.network.set_adapter(_TRAINED)
                self._resident.delete(step)

    def has_step(self, step: int) -> bool:
        """Check whether a step can be served: the base model, or an adapter on disk."""
        return step == 0 or (self.adapter_dir(step) / "adapter_model.safetensors").exists()

    def answers(self, step: int) -> bool:
        """Check whether agents can be answered as a step: also from memory, if its files are gone.

        The base model always can.
        """
        return step in self._resident or self.has_step(step)

    def row_logprobs(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        group_ids: torch.Tensor,
        parent_ids: torch.Tensor,
        wanted: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute log-probability and entropy of each wanted token of one packed row.

        All inputs are 1-D of length L, on the processor, and so are the results, with their
        gradients; ``wanted`` is a mask of target tokens. A token sees the earlier tokens of its own
        branch and of its parent (the shared prompt). What begins alike is computed once, and what
        no wanted token follows is not; the head, which costs half as much as the network, runs once
        per distinct beginning that a wanted token follows. Returns two 1-D tensors, one value per
        wanted token, in row order. Raises ValueError if a wanted token follows nothing.
        """
        columns = (tokens, positions, group_ids, parent_ids)
        tree = token_tree(zip(*(column.tolist() for column in columns), strict=True))
        targets = wanted.nonzero().squeeze(-1)
        ends = [tree.follows[tree.node_of[target]] for target in targets.tolist()]
        if any(end < 0 for end in ends):
            raise ValueError("a wanted token follows nothing: its row has no prompt for it")
        if ends:
            tree, ends = tree.up_to(ends)
        hidden = self.hidden(tokens, positions, tree)
        place = self.device.place
        sources, rows = torch.unique(torch.tensor(ends, dtype=torch.long), return_inverse=True)
        picked, entropy = head_logprobs(
            self.network.get_output_embeddings(),
            self.device.precision,
            hidden[sources.to(place)],
            rows.to(place),
            tokens[targets].to(place),
        )
        return picked.cpu(), entropy.cpu()

    def hidden(
        self, tokens: torch.Tensor, positions: torch.Tensor, tree: TokenTree
    ) -> torch.Tensor:
        """Compute the last hidden states (nodes, width) of a row's tree, under the adapter in use.

        ``tokens`` and ``positions`` are the row's.
        """
        place = self.device.place
        first = torch.tensor(tree.first)
        body: Any = self.network.get_base_model().model
        output = body(
            input_ids=tokens[first].to(place)[None],
            position_ids=positions[first].to(place)[None],
            attention_mask=torch.from_numpy(tree.visible()).to(place)[None, None],
            use_cache=False,
        )
        states: torch.Tensor = output.last_hidden_state[0]
        return states

    def load_trained(self, folder: Path) -> None:
        """Load a checkpoint's weights into the adapter in training."""
        weights = load_file(str(folder / "adapter_model.safetensors"))
        with self.lock:
            loaded: Any = set_peft_model_state_dict(self.network, weights, adapter_name=_TRAINED)
            if loaded.unexpected_keys:
                raise ValueError(f"{folder} contains weights that do not fit this model")

    def save_trained(self, folder: Path) -> None:
        """Write the adapter in training as a checkpoint that peft and ART can load."""
        self.network.save_pretrained(str(folder), selected_adapters=[_TRAINED])
        nested = folder / _TRAINED
        if nested.exists():  # peft puts every adapter not named "default" in a subfolder
            for path in nested.iterdir():
                path.rename(folder / path.name)
            nested.rmdir()
