"""The model service of backend ``cpu``, on transformers and peft.

The loss is ART's own code. Ours are the forward and backward pass and the inference server. Both
run on an NVIDIA card where ``BABYLON_TORCH_DEVICE`` finds one; the loss is computed on the
processor either way.
"""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from art import dev, types
from art.loss import loss_fn
from art.metrics_taxonomy import TRAIN_GRADIENT_STEPS_KEY
from art.preprocessing.inputs import create_train_inputs
from art.preprocessing.pack import DiskPackedTensors, packed_tensors_from_dir

from babylon_tasks.addresses import host_in_url
from babylon_tasks.errors import TrainingError
from babylon_tasks.training.answer_tokens import AnswerTokens
from babylon_tasks.training.art_interface import installed
from babylon_tasks.training.checkpoints import OPTIMIZER, newest_step, remove, sync
from babylon_tasks.training.device import Device
from babylon_tasks.training.divergence import refuse_divergence
from babylon_tasks.training.importance_ratios import StepRatios
from babylon_tasks.training.inference.limits import Limits
from babylon_tasks.training.inference.server import InferenceServer
from babylon_tasks.training.packed_rows import gradient_batches
from babylon_tasks.training.policy import Policy, undo_art_mask_patch
from babylon_tasks.training.reference_logprobs import ReferencedRow, referenced_rows
from babylon_tasks.training.smollm import base_model_path
from babylon_tasks.training.supervised_batches import AnswerBatch
from babylon_tasks.training.supervised_gradient import supervised_gradient
from babylon_tasks.training.work import noting_prompts

# AdamW as in ART's own services.
_BETAS = (0.9, 0.99)
_WEIGHT_DECAY = 0.1
_MAX_GRAD_NORM = 0.1


class CPUService:
    """ART's ModelService for one lineage: trains and serves it in this process."""

    def __init__(
        self, name: str, base_model: str, output_dir: str, limits: Limits | None, device: Device
    ) -> None:
        undo_art_mask_patch()
        self.name = name
        self.checkpoints = Path(output_dir) / "checkpoints"
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for stale in self.checkpoints.glob(".*-*"):  # left by a process that died meanwhile
            remove(stale)
        self.policy = Policy(base_model_path(base_model), self.checkpoints, device)
        self.seed = 0  # of the next step
        # A copy of its own: tokenizers are not thread-safe, and the endpoint uses the other one.
        self.tokenizer = noting_prompts(copy.deepcopy(self.policy.tokenizer))
        self.parent_step: int | None = None  # whose weights the next step starts from
        self.ratios = StepRatios(None)  # of the next step, or of the last one
        self._limits = limits  # None: nothing is served
        self._server: InferenceServer | None = None
        self._optimizer = self._new_optimizer()
        self._loaded_step: int | None = None

    def _new_optimizer(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            self.policy.trained_parameters(), betas=_BETAS, weight_decay=_WEIGHT_DECAY
        )

    async def start_openai_server(self, config: dev.OpenAIServerConfig | None) -> tuple[str, int]:
        """Serve the lineage's checkpoints on ART's ``server_args``: host, port, api_key.

        Returns the host as ART puts it into a URL, and the port; port 0 where nothing is served.
        """
        if self._limits is None:
            return "127.0.0.1", 0
        if self._server is None:
            args: dict[str, Any] = dict((config or {}).get("server_args", {}))
            self._server = InferenceServer(
                self.policy,
                self.name,
                host=args.get("host") or "127.0.0.1",
                port=args.get("port") or 0,
                api_key=args.get("api_key") or "default",
                limits=self._limits,
            )
            await asyncio.to_thread(self._server.start)
        return host_in_url(self._server.host), self._server.port

    async def vllm_engine_is_sleeping(self) -> bool:
        """Return False: sampling and training alternate, so neither is suspended."""
        return False

    def forget(self, step: int) -> None:
        """Stop serving a checkpoint that is about to be discarded, and do not train on from it."""
        self.policy.forget(step)
        if self._loaded_step == step:
            self._loaded_step = None

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    async def train(
        self,
        disk_packed_tensors: DiskPackedTensors,
        config: types.TrainConfig,
        _config: dev.TrainConfig,
        verbose: bool = False,  # noqa: ARG002  # ART's interface
    ) -> AsyncIterator[dict[str, float]]:
        """Take a gradient step per packed row, or several together where they are less than half
        full, then write the next checkpoint in one rename.
        """
        packed = packed_tensors_from_dir(**disk_packed_tensors)
        batches = gradient_batches(packed["assistant_mask"].sum(-1).tolist())
        base_step = newest_step(self.checkpoints)
        parent = base_step if self.parent_step is None else self.parent_step
        await asyncio.to_thread(self._load, parent)
        self._loaded_step = None  # the weights in memory no longer match any checkpoint
        rows = referenced_rows(
            self.policy,
            (
                create_train_inputs(packed, row, config, _config, warmup=False)
                for batch in batches
                for row in batch
            ),
            base=config.kl_penalty_coef > 0,
        )
        for batch in batches:
            some = islice(rows, len(batch))
            metrics = await asyncio.to_thread(self._gradient_step, some, config, _config)
            yield {**metrics, TRAIN_GRADIENT_STEPS_KEY: float(len(batches))}
        self.ratios.end()
        await asyncio.to_thread(self._save, base_step + 1, parent)
        self._loaded_step = base_step + 1

    def train_sft(self, *_: Any, **__: Any) -> AsyncIterator[dict[str, float]]:
        """Refuse: ART tokenises for it with unsloth, which needs CUDA; ``supervise`` is ours."""
        raise TrainingError("the cpu backend makes supervised steps by itself, not through ART")

    async def supervise(
        self,
        batches: Sequence[AnswerBatch[AnswerTokens]],
        row_length: int,
        decision_weight: float,
    ) -> AsyncIterator[dict[str, float]]:
        """Take one gradient step per batch, then write the next checkpoint in one rename.

        The optimizer's state is neither taken over nor left behind: gradients of a GRPO step are of
        another size.
        """
        base_step = newest_step(self.checkpoints)
        parent = base_step if self.parent_step is None else self.parent_step
        await asyncio.to_thread(self._load, parent)
        self._loaded_step = None
        self._optimizer = self._new_optimizer()
        tokens = sum(len(one.answer) for batch in batches for one in batch.answers)
        for batch in batches:
            metrics = await asyncio.to_thread(
                supervised_gradient,
                self.policy,
                self._optimizer,
                batch,
                row_length,
                decision_weight,
            )
            refuse_divergence(metrics, "BABYLON_SUPERVISED_LEARNING_RATE")
            yield {
                **metrics,
                TRAIN_GRADIENT_STEPS_KEY: float(len(batches)),
                installed().tokens_metric: float(tokens),
            }
        await asyncio.to_thread(self._save, base_step + 1, parent, with_optimizer=False)

    def _gradient_step(
        self,
        rows: Iterable[ReferencedRow],
        config: types.TrainConfig,
        dev_config: dev.TrainConfig,
    ) -> dict[str, float]:
        """Move the weights by the mean over the rows' tokens; returns the means of what it saw."""
        rows = list(rows)
        tokens = [int(row.wanted.sum()) for row in rows]
        self._optimizer.zero_grad(set_to_none=True)  # an interrupted backward pass leaves some
        measured: dict[str, float] = {}
        for row, count in zip(rows, tokens, strict=True):
            share = count / max(1, sum(tokens))
            for name, value in self._gradient(row, share, dev_config).items():
                measured[name] = measured.get(name, 0.0) + share * value
        for group in self._optimizer.param_groups:
            group["lr"] = config.learning_rate
        norm = torch.nn.utils.clip_grad_norm_(self.policy.trained_parameters(), _MAX_GRAD_NORM)
        self._optimizer.step()
        self.ratios.taken()
        measured["loss/grad_norm"] = float(norm)
        refuse_divergence(measured, "BABYLON_LEARNING_RATE")
        return measured

    def _gradient(
        self, row: ReferencedRow, share: float, dev_config: dev.TrainConfig
    ) -> dict[str, float]:
        """Add a share of the gradient of one row's loss."""
        wanted, reference = row.wanted, row.base_logprobs
        with self.policy.training():
            logprobs, entropy = self.policy.row_logprobs(*row.columns)
            self.ratios.add(logprobs, row.inputs["logprobs"][0][wanted], dev_config)
            loss = loss_fn(
                row.inputs,  # type: ignore[arg-type]
                _at_predecessors(logprobs, wanted),
                None if reference is None else _at_predecessors(reference, wanted),
                None,
                dev_config,
            )
            (share * loss.policy_loss).backward()  # type: ignore[no-untyped-call]
        measured = {
            "loss/train": float(loss.policy_loss.detach()),
            "loss/entropy": float(entropy.mean()),
        }
        if loss.kl_policy_ref is not None:
            measured["loss/kl_policy_ref"] = float(loss.kl_policy_ref)
        return measured

    def _load(self, step: int) -> None:
        if step and self._loaded_step == step:
            return
        self._optimizer = self._new_optimizer()
        folder = self.policy.adapter_dir(step)
        if step == 0:
            self.policy.init_adapter(self.seed)
        else:
            self.policy.committed.require_intact(step)
            self.policy.load_trained(folder)
            if (folder / OPTIMIZER).exists():  # an old checkpoint's, after a rollback, are deleted
                self._load_optimizer(step)
        self._loaded_step = step

    def _load_optimizer(self, step: int) -> None:
        damage = self.policy.committed.optimizer_damage(step)
        if damage is None:
            try:
                # Saved on a card, it can be read without one; load_state_dict brings it there.
                saved = torch.load(
                    self.policy.adapter_dir(step) / OPTIMIZER, weights_only=True, map_location="cpu"
                )
                self._optimizer.load_state_dict(saved)
            except Exception as error:  # noqa: BLE001  # whatever torch makes of a damaged file
                damage = str(error)
                self._optimizer = self._new_optimizer()
        if damage is not None:
            print(f"optimizer starts from scratch at step {step}: {damage}", file=sys.stderr)

    def _save(self, step: int, parent: int, *, with_optimizer: bool = True) -> None:
        target = self.policy.adapter_dir(step)
        scratch = self.checkpoints / f".writing-{step:04d}-{os.getpid()}"
        shutil.rmtree(scratch, ignore_errors=True)
        with self.policy.lock:
            self.policy.save_trained(scratch)
            if with_optimizer:
                torch.save(self._optimizer.state_dict(), scratch / OPTIMIZER)
        for path in scratch.iterdir():
            sync(path)
        scratch.rename(target)  # fails if the step exists already
        sync(self.checkpoints)
        # The next step starts from this one or, if it is held, from the same parent again.
        for moments in self.checkpoints.glob(f"*/{OPTIMIZER}"):
            if moments.parent.name not in (f"{step:04d}", f"{parent:04d}"):
                moments.unlink()


def _at_predecessors(values: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    # ART's loss expects at index i the log-probability of the token at index i + 1.
    row = torch.zeros(len(wanted), dtype=values.dtype)
    return row.index_put((wanted.nonzero().squeeze(-1) - 1,), values)[None]
