"""The language-model head: how it multiplies, and log-probabilities without all their logits.

A row of logits over 49,152 words is 192 KiB, and autograd keeps four such rows for each trained
token. Here one is kept for each token that words are predicted from, and none where these are many:
then the backward pass computes them again, which is one product with the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from babylon_tasks.training.device import Device

# Sources at once: some 50 MiB of logits and what is made of them.
SOURCES_AT_ONCE = 64
# Up to so many states the processor multiplies the head by them, not them by the head: of 3 states
# in 12 ms instead of 50, of 16 in 24 instead of 37, and of 16 rows of a batch, which transformers
# cuts out so that torch multiplies each by itself, instead of 102 (135M model, 2 cores with AVX2).
_FEW = 64


def set_head_precision(model: Any, device: Device) -> None:
    """Let a model's head multiply as ``device`` says; its input embeddings stay as they are."""
    head = model.get_output_embeddings()
    if not device.on_card and not device.bf16:
        _multiply_few(head)
    elif device.exact_head:
        _multiply_in_fp32(head, device)
    elif device.bf16:  # cast once instead of at each pass
        made = torch.nn.Linear(head.in_features, head.out_features, bias=False, device="meta")
        made.weight = torch.nn.Parameter(head.weight.detach().to(torch.bfloat16), False)
        made.bias = head.bias
        model.set_output_embeddings(made)


def _multiply_in_fp32(layer: Any, device: Device) -> None:
    """Exclude a layer from autocast: its weights are fp32, and its input is made so."""
    inner = layer.forward

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.place.type, enabled=False):
            made: torch.Tensor = inner(hidden.float())
            return made

    layer.forward = forward


def _multiply_few(layer: Any) -> None:
    """Let a layer without a bias multiply a few states the other way around."""
    inner = layer.forward
    if layer.bias is not None:
        return

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        states = hidden.reshape(-1, hidden.shape[-1])
        made: torch.Tensor
        if len(states) > _FEW:
            made = inner(hidden)
            return made
        made = (layer.weight @ states.t()).t().contiguous()
        return made.view(*hidden.shape[:-1], -1)

    layer.forward = forward


def head_logprobs(
    head: Any,
    precision: Callable[[], AbstractContextManager[Any]],
    hidden: torch.Tensor,
    rows: torch.Tensor,
    targets: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute log-probability and entropy of each of ``targets``, words of the vocabulary.

    ``rows`` says which of the states ``hidden`` (sources, width) each is predicted from: the first
    words of all answers to a prompt share one. Gradients go to ``hidden`` alone, from the
    log-probabilities. ``precision`` is the context that the network runs in.
    """
    found: tuple[torch.Tensor, torch.Tensor] = _HeadLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden, head, precision, rows, targets
    )
    return found


class _HeadLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: Any, precision: Any, rows: Any, targets: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(hidden, rows, targets)
        ctx.head, ctx.precision, ctx.kept = head, precision, None
        logprobs = torch.empty(len(rows), device=hidden.device)
        entropies = torch.empty(len(rows), device=hidden.device)
        with precision():
            for part, wanted in _parts(len(hidden), rows):
                logits = head(hidden[part])
                ctx.made_in = logits.dtype
                log_softmax = torch.log_softmax(logits.float(), dim=-1)
                inside = rows[wanted] - part.start
                logprobs[wanted] = log_softmax[inside, targets[wanted]]
                probs = log_softmax.exp()
                entropies[wanted] = -(probs * log_softmax).sum(-1)[inside]
                if ctx.needs_input_grad[0] and len(hidden) <= SOURCES_AT_ONCE:
                    ctx.kept = probs
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None, None, None, None]:
        hidden, rows, targets = ctx.saved_tensors
        made = torch.empty_like(hidden)
        for part, wanted in _parts(len(hidden), rows):
            probs = ctx.kept
            if probs is None:
                with ctx.precision():
                    probs = torch.softmax(ctx.head(hidden[part]).float(), dim=-1)
            inside, gradient = rows[wanted] - part.start, gradients[0][wanted]
            shares = torch.zeros(len(probs), device=hidden.device)
            shares.index_add_(0, inside, gradient)
            slope = probs * -shares[:, None]
            slope.index_put_((inside, targets[wanted]), gradient, accumulate=True)
            with torch.autocast(hidden.device.type, enabled=False):
                made[part] = (slope.to(ctx.made_in) @ ctx.head.weight.to(ctx.made_in)).float()
        return made, None, None, None, None


def _parts(sources: int, rows: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield some sources, and the places of the words that are predicted from them."""
    for start in range(0, sources, SOURCES_AT_ONCE):
        part = slice(start, min(start + SOURCES_AT_ONCE, sources))
        yield part, ((rows >= part.start) & (rows < part.stop)).nonzero().squeeze(-1)
